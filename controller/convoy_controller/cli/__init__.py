"""`convoy`, the command line: one module for each group of commands, each with `register(app)`.

Exit codes are `exit_codes`'. Commands about a fleet speak to its API (`fleet`), wherever that is. An error is one
sentence on stderr; `--json` puts nothing but JSON on stdout. Modules import what is slow inside their commands, so
that `convoy --help` is quick.
"""

from __future__ import annotations

import contextlib
from importlib import metadata

from convoy_controller.cli import (
    api,
    bench,
    bitstreams,
    boards,
    certificates,
    clearing,
    conformance,
    contract,
    demo,
    deploying,
    deployments,
    events,
    groups,
    infer,
    keys,
    logs,
    metrics,
    models,
    plan,
    profile,
    running,
    status,
    tokens,
    top,
    why,
    wishes,
)
from convoy_controller.cli.program import make_app, register_under

app = make_app()
#: Under which heading of the help; what is about this machine takes no `--api`.
FLEET, HERE = "A fleet, here or elsewhere", "This machine"
_MODULES = {
    FLEET: (
        top,
        status,
        boards,
        wishes,
        groups,
        why,
        deployments,
        deploying,
        plan,
        models,
        clearing,
        events,
        logs,
        tokens,
        profile,
    ),
    HERE: (running, api, infer, certificates, keys, bitstreams, contract, metrics, conformance, demo, bench),
}
for _panel, _modules in _MODULES.items():
    for _module in _modules:
        register_under(app, _panel, _module.register)
# Commands of packages that nothing here may import: of our own distribution, since to look through all takes 60 ms.
# What is not installed, or cannot be loaded, is one command less: no controller may fail to start for it.
with contextlib.suppress(ImportError):
    for _entry in metadata.distribution("convoy-fleet").entry_points.select(group="convoy.commands"):
        register_under(app, HERE, _entry.load())


def main() -> None:
    """The `convoy` script."""
    app()
