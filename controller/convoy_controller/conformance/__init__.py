"""The conformance kit: judges a board, or a controller, that somebody else wrote, by what it says on the wire.

`rules` are what is judged and `verdicts` what came of it. `wire` hears everything, `tap` stands between the one that is
tried and its broker. The modules `board_*` play controller and gateway to a board, `controller_*` play boards and a
gateway to a controller; `running` runs them. Bytes are made and read by the schema; nothing of our own daemon, registry
or reconciler takes part. Called by `convoy conformance`.
"""
