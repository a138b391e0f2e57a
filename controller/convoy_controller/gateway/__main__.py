"""`python -m convoy_controller.gateway`: one gateway by itself, without the command line's other parts."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from convoy_schema.errors import ConvoyError

from convoy_controller.gateway.process import GatewayConfig, run_gateway


def main(arguments: list[str] | None = None) -> int:
    """Parse `arguments`, run until stopped; 0 when asked to stop, 1 when it could not go on."""
    parser = argparse.ArgumentParser(prog="convoy-gateway", description="Where requests enter and results leave.")
    parser.add_argument("--name", default="gateway")
    parser.add_argument("--site", default="local")
    parser.add_argument("--broker", required=True, help="mqtt://host:port")
    parser.add_argument(
        "--trusted-key", required=True, type=Path, help="PEM file of the fleet's root key, its public half"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=0, type=int, help="0 takes a free one")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = GatewayConfig(given.name, given.site, given.broker, given.trusted_key, given.host, given.port)
    try:
        run_gateway(config)
    except ConvoyError as error:
        print(f"convoy-gateway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
