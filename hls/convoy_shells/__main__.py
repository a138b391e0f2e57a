"""`python -m convoy_shells [SHELL ...]`: builds shells where Vivado and Vitis HLS are. `make bitstreams` calls it.

Exit codes: 0 built and in the catalogue, 1 a tool or a check failed, 2 the tools are missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from convoy_bitstreams import floorplans
from convoy_schema.errors import ConvoyError

from convoy_shells.build import add_to_catalogue, build
from convoy_shells.toolchain import explain, find


def main() -> int:
    """Build what the command line names; returns the exit code."""
    plans = floorplans()
    parser = argparse.ArgumentParser(prog="convoy_shells", description="Build shells and their modules with Vivado.")
    parser.add_argument("shells", nargs="*", metavar="SHELL", help=f"of {', '.join(plans)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("build/shells"), help="folder (default: %(default)s)")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.shells) - set(plans))
    if unknown:
        parser.error(f"there is no shell {unknown[0]!r}; there are {', '.join(plans)}")
    tools, faults = find(os.environ)
    if tools is None:
        print(explain(faults), file=sys.stderr)
        return 2
    for name in arguments.shells or plans:
        print(f"Shell {name}, with Vivado and Vitis HLS {tools.version}:", flush=True)
        try:
            images = build(plans[name], tools, (arguments.out / name).resolve(), _say)
            add_to_catalogue(plans[name], images, _say)
        except ConvoyError as error:
            print(f"convoy_shells: {error}", file=sys.stderr)
            return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
