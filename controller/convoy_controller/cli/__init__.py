"""`convoy`, the command line: one module for each group of commands, each with `register(app)`.

Exit codes are `exit_codes`'. Commands about a fleet speak to its API (`fleet`), wherever that is. An error is one
sentence on stderr; `--json` puts nothing but JSON on stdout. Modules import what is slow inside their commands, so
that `convoy --help` is quick.
"""

from __future__ import annotations

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
    infer,
    keys,
    logs,
    models,
    plan,
    profile,
    running,
    tokens,
    top,
    why,
)
from convoy_controller.cli.program import make_app

app = make_app()
for _module in (
    running,
    top,
    api,
    tokens,
    boards,
    certificates,
    why,
    deployments,
    deploying,
    plan,
    models,
    bitstreams,
    keys,
    clearing,
    events,
    logs,
    profile,
    infer,
    demo,
    bench,
    contract,
    conformance,
):
    _module.register(app)


def main() -> None:
    """The `convoy` script."""
    app()
