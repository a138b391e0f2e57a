"""The planner's core: an abstract pipeline of layers over kinds of boards, cut as well as can be proved.

- `instance`: what is planned, in seconds and bytes; it knows no topology and no cycle model. `segments`: what every run
  of layers costs every kind of board.
- `multisets` (exact, all counts at once), `frontier` (exact for one period), `prices` (bounds) and `beam` (plans beside
  them) search; `throughput` and `latency` choose among them; `solver` is what callers call.
- `found` and `solution`: the answer; `refusal`: why there is none.
- `costing`: topologies and board profiles become instances, and the one place where cycles become seconds.
  `profiles`: boards in a TOML file. `naming`: named boards for a plan. `timeline`: the pipeline drawn.

Everything is pure and deterministic: no fleet, no clock, no randomness. `convoy_controller.planner` is what the
reconciler calls.
"""
