"""`convoy bench`: speed as a ratio to something run beside it, in the same run.

- `figures`: what a bench answers, and its bars. `rig`: a local fleet with a gateway inside the bench's own process.
- `raw_relay`: the peer of `pipeline`. One module a bench, each with `run(console) -> Result`; `registry` names them.
"""
