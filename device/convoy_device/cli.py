"""The command line of the board, on base dependencies only.

`convoy-device run | check | enroll | renew | selftest`, and `install | uninstall | upgrade`, which are `maintenance`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before numpy is imported: on a board's two cores more BLAS threads only cost memory, and delay the frames.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from convoy_schema.errors import ConvoyError
from convoy_schema.resident import settle_memory

from convoy_device import config as configs
from convoy_device import maintenance
from convoy_device.config import Config
from convoy_device.errors import ConfigError
from convoy_device.fabric.opening import FABRICS
from convoy_device.journal import set_up_logging

if TYPE_CHECKING:
    from convoy_device.daemon import Daemon

EXIT_CONFIG = 2
EXIT_FAILED = 1
#: Threads in which the lanes of many boards may wait at once.
MOST_WAITING = 16
#: Seconds for which a thread may keep the interpreter's lock while the loop of many boards waits, which takes the lock
#: thousands of times a second.
SHARED_SWITCH_S = 0.0005

_EXIT_CODES = """exit codes:
  0  stopped when asked to (SIGTERM, SIGINT)
  1  failed: the log says why
  2  the configuration or the command line cannot be used
  3  another daemon runs under this board's name, and this one gave way
  4  the upgrade was taken back: the version before it serves
  5  the board's owner asked for a restart: whoever started the daemon is to start it again
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `convoy-device`; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command in ("enroll", "renew"):
        from convoy_device import cli_enroll

        return _guarded(partial(cli_enroll.run, options))
    if options.command in ("install", "uninstall", "upgrade"):
        return _guarded(partial(maintenance.run, options))
    if options.command == "selftest":
        return _guarded(partial(_selftest, options))
    return _guarded(partial(_serve_or_check, options))


def _guarded(work: Callable[[], int]) -> int:
    try:
        return work()
    except ConfigError as error:
        print(f"convoy-device: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except ConvoyError as error:
        print(f"convoy-device: {error}", file=sys.stderr)
        return EXIT_FAILED


def _serve_or_check(options: argparse.Namespace) -> int:
    overrides = {key: getattr(options, key) for key in ("name", "site", "broker", "fabric", "pace", "log_level")}
    for key in ("state_dir", "trusted_key"):
        overrides[key] = getattr(options, key)
    config = configs.load(options.config, overrides)
    boards = configs.fleet(config, options.count)
    return _check(boards) if options.command == "check" else _run(boards)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convoy-device",
        description="The daemon of a Convoy board: fetches, verifies and runs its part of a network.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"convoy-device {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("run", "serve as the board that the file describes, until SIGTERM or SIGINT"),
        ("check", "read the file, print what would run, and start nothing"),
    ):
        command = commands.add_parser(
            name, help=text, description=text, epilog=_EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration, TOML")
        command.add_argument(
            "--count", type=int, default=1, metavar="N", help="N boards in this process: NAME-1 to NAME-N"
        )
        command.add_argument("--name", help="board name, in place of the file's")
        command.add_argument("--site", help="site, in place of the file's")
        command.add_argument("--broker", metavar="URL", help="broker, in place of the file's")
        command.add_argument("--state-dir", type=Path, metavar="DIR", help="state directory, in place of the file's")
        command.add_argument("--trusted-key", type=Path, metavar="PEM", help="trusted key, in place of the file's")
        command.add_argument("--fabric", help="fabric, in place of the file's")
        command.add_argument("--pace", type=float, help="pace of the emulated fabric, in place of the file's")
        command.add_argument("--log-level", help="debug, info, warning or error, in place of the file's")
    _add_selftest(commands)
    add_enrolling(commands)
    maintenance.add_commands(commands)
    return parser


def _add_selftest(commands: Any) -> None:
    text = "try everything that the fabric promises once, with no daemon and no broker, and write a report"
    command = commands.add_parser("selftest", help=text, description=f"{text}: convoy-selftest.json and .txt")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--config", type=Path, metavar="FILE", help="fabric and state directory of a board's file")
    which.add_argument("--fabric", choices=FABRICS, help="a fabric without a file, with a state that is thrown away")
    command.add_argument("--images", type=Path, metavar="DIR", help="folder of images and manifests, if not our own")
    command.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="where the report goes")


def add_enrolling(commands: Any) -> None:
    """The commands that `cli_enroll` runs; here, because that one's imports take a second on a board."""
    text = "get this board's certificate by a claim, and write what `run` needs"
    command = commands.add_parser("enroll", help=text, description=f"{text}: ca.pem, NAME.pem, trusted.pem, board.toml")
    command.add_argument("--claim", required=True, help="as `convoy board invite` printed it; - reads it from stdin")
    command.add_argument("--directory", type=Path, default=Path(), metavar="DIR", help="where the files go")
    command.add_argument("--fabric", choices=FABRICS, default="emulated", help="the fabric that board.toml names")
    text = "renew this board's certificate now; a daemon that runs uses it from its next connection on"
    command = commands.add_parser("renew", help=text, description=text)
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration, TOML")
    command.add_argument("--if-due", action="store_true", help="only if the service says that it is time")


def _selftest(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr)
    if not options.output.is_dir():
        raise ConfigError(f"--output must be a folder that is there, {options.output} is not")
    if options.config is not None:
        config = configs.load(options.config)
        return _selftest_in(options, config.fabric, config.state_dir / "fabric")
    with tempfile.TemporaryDirectory(prefix="convoy-selftest-") as folder:
        return _selftest_in(options, options.fabric, Path(folder))


def _selftest_in(options: argparse.Namespace, name: str, state_dir: Path) -> int:
    from convoy_bitstreams import catalogue, open_catalogue

    from convoy_device.fabric.opening import open_fabric
    from convoy_device.selftest import SelfTest
    from convoy_device.selftest_report import line_of, report_of

    images = open_catalogue(options.images) if options.images is not None else catalogue()
    fabric = open_fabric(name, state_dir)
    try:
        steps = SelfTest(fabric, images, lambda step: print(line_of(step), flush=True)).run()
        report = report_of(fabric, steps)
    finally:
        fabric.close()
    for suffix, content in ((".json", report.to_json()), (".txt", report.to_text())):
        file = options.output / f"convoy-selftest{suffix}"
        try:
            file.write_text(content, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--output: {file} cannot be written: {error}") from error
    print(f"{'passed' if report.passed else 'FAILED'}: the report is in {file.with_suffix('.json')} and .txt")
    return 0 if report.passed else EXIT_FAILED


def _check(boards: tuple[Config, ...]) -> int:
    for board in boards:
        configs.trusted_key(board)
        configs.credentials(board)
        pace = "full speed" if board.pace is None else f"{board.pace:g} times the cycle model"
        print(f"board {board.name} of site {board.site}")
        print(f"  broker      {board.broker}")
        print(f"  fabric      {board.fabric}, {pace}")
        print(f"  state       {board.state_dir}, at most {board.store_quota_mb} MB of artifacts")
        print(f"  trusts      {board.trusted_key}")
        if board.certificate is not None:
            print(f"  certificate {_certificate(board.certificate)}")
        print(f"  queue       {board.queue_frames} frames a stage")
        for key, value in board.labels.items():
            print(f"  label       {key} = {value}")
    return 0


def _certificate(file: Path) -> str:
    """Whose it is and when it ends; raises `TlsError`."""
    from convoy_schema.credentials import common_name, load_certificates

    found = load_certificates(file)[0]
    return f"of {common_name(found)}, until {found.not_valid_after_utc:%Y-%m-%d}: {file}"


def _run(boards: tuple[Config, ...]) -> int:
    set_up_logging(boards[0].log_level, {"board": boards[0].name} if len(boards) == 1 else {})
    from convoy_device.daemon import serve

    settle_memory()
    if len(boards) > 1:
        sys.setswitchinterval(SHARED_SWITCH_S)
    with ThreadPoolExecutor(max_workers=lane_threads(boards), thread_name_prefix="lane") as pool:
        return asyncio.run(serve(boards, pool, _look_after))


def lane_threads(boards: Sequence[Config], cores: int = os.cpu_count() or 1) -> int:
    """Threads for the lanes of these boards, two each: as many as there are cores for work that computes.

    Each further one would only keep the loop from the interpreter's lock, until no connection of any board is served.
    Boards with a pace wait in their threads for as long as a real fabric takes.
    """
    is_waiting = any(board.pace is not None for board in boards)
    return min(2 * len(boards), MOST_WAITING if is_waiting else max(2, cores))


def _look_after(daemons: list[Daemon]) -> None:
    """Tell the service manager about them, and stop them on signals."""
    from convoy_device.service import Service

    loop = asyncio.get_running_loop()
    service = Service(daemons)
    service.start()

    def stop(name: str) -> None:
        service.stopping(name)
        for daemon in daemons:
            daemon.stop(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)


def _version() -> str:
    try:
        return metadata.version("convoy-fleet")
    except metadata.PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
