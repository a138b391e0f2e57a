"""The import of a model that came over the API: a process of its own, since it takes minutes and other people's files.

`start` begins it and sees to its end; `main` is the process. It says in the operation's row how far it is.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from convoy_schema.errors import ConvoyError

from convoy_controller.database import operations
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.records import utc_now
from convoy_controller.errors import DatabaseError
from convoy_controller.home import DATABASE_VARIABLE, Home
from convoy_controller.plain import plain

log = logging.getLogger(__name__)

#: Names of the two files in an upload's folder.
MODEL, SAMPLES = "model.onnx", "samples.npz"
#: Seconds of a processor that one import may take, and between two signs of life.
MOST_CPU_S, BEAT_S = 3600, 5.0


@dataclass(frozen=True)
class Order:
    """What is to be imported as what; `folder` holds the files and is removed in the end."""

    folder: Path
    name: str
    version: str
    scale: float
    offset: float
    class_names: tuple[str, ...] = ()


def start(database: Database, home: Home, number: int, order: Order) -> None:
    """Begin operation `number`, and return; raises `OSError` when no process can be made."""
    named = [str(number), str(order.folder), order.name, order.version, repr(order.scale), repr(order.offset)]
    command = [sys.executable, "-m", __name__, "--home", str(home.root), "--", *named, *order.class_names]
    environment = {**os.environ, DATABASE_VARIABLE: home.database_url}
    with (order.folder / "log").open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True
        )
    threading.Thread(target=_see_off, args=(database, process, number, order), daemon=True).start()


def _see_off(database: Database, process: subprocess.Popen[bytes], number: int, order: Order) -> None:
    """In a thread: when it ends without a word, say that it failed."""
    code = process.wait()
    try:
        if code != 0:
            said = (order.folder / "log").read_text(errors="replace")[-500:]
            log.error("import %d ended with %d: %s", number, code, said)
            message = f"the import's process ended with {code} and said nothing: the file may be too much for it"
            operations.fail(database, number, utc_now(), "import-died", message)
    except (OSError, DatabaseError) as error:
        log.error("import %d has ended, which cannot be written down: %s", number, error)
    finally:
        shutil.rmtree(order.folder, ignore_errors=True)


class _Saying:
    """Writes down how far it is, from time to time also where nothing is new."""

    def __init__(self, database: Database, number: int) -> None:
        self._database = database
        self._number = number
        self._at: tuple[str, int, int] = ("", 0, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def say(self, step: str, done: int = 0, total: int = 0) -> None:
        self._at = (step, done, total)
        operations.beat(self._database, self._number, utc_now(), *self._at)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                operations.beat(self._database, self._number, utc_now(), *self._at)
            except DatabaseError as error:
                log.warning("a sign of life was not written down: %s", error)


def main(arguments: list[str] | None = None) -> int:
    """Import, and say what came of it; 0 when that is written down."""
    parser = argparse.ArgumentParser(prog="convoy-import")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("number", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("scale", type=float)
    parser.add_argument("offset", type=float)
    parser.add_argument("class_names", nargs="*")
    given = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    home = Home.locate(given.home)
    database = open_database(home.database_url)
    saying = _Saying(database, given.number)
    try:
        order = Order(given.folder, given.name, given.version, given.scale, given.offset, tuple(given.class_names))
        result = _imported(database, home, order, saying)
        operations.succeed(database, given.number, utc_now(), result)
    except ConvoyError as error:
        operations.fail(database, given.number, utc_now(), error.code, str(error))
    finally:
        saying.end()
        database.close()
    return 0


def _imported(database: Database, home: Home, order: Order, saying: _Saying) -> dict[str, object]:
    from convoy_controller.cli.calibration import read_samples
    from convoy_controller.importer import import_model
    from convoy_controller.publishing import publish

    saying.say("reading the calibration samples")
    path = order.folder / MODEL
    samples = read_samples(str(order.folder / SAMPLES), path, order.scale, order.offset, None)
    saying.say("quantising, and computing the self-test")
    imported = import_model(path, samples, name=order.name)
    pixels = (order.scale, order.offset)

    def progress(done: int, total: int) -> None:
        saying.say("storing", done, total)

    published = publish(database, home, imported, order.name, order.version, pixels, order.class_names, progress)
    found: dict[str, object] = plain(published)
    return found


if __name__ == "__main__":
    sys.exit(main())
