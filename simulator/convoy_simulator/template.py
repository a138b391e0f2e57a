"""What a simulated fleet begins with: keys, two versions of a model, and a database that every run copies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.util import Finalize
from pathlib import Path

import convoy_bitstreams
import numpy as np
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue, ModelContents
from convoy_controller.database.engine import open_database
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_schema.bundle import InputSpec
from numpy.typing import NDArray

from convoy_simulator.small_network import CLASSES, SPEC, pictures, raw_answers, small_network

#: Where files are memory, if there is such a place.
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Template:
    """`answers`: for each version of model `small`, what it gives to `pictures` (int8)."""

    home: Home
    model: str
    answers: dict[str, NDArray[np.int8]]
    pictures: NDArray[np.uint8]

    def copy_of_database(self, directory: Path, name: str) -> str:
        """The URL of a database of its own that holds the same."""
        source = Path(self.home.database_url.removeprefix("sqlite:///"))
        target = directory / f"{name}.db"
        shutil.copyfile(source, target)
        return f"sqlite:///{target}"


def temporary_folder() -> Path:
    """A folder that goes with this process, be it one of a pool or not."""
    parent = _MEMORY if _MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="convoy-simulator-", dir=parent))
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=0)
    return folder


@lru_cache(maxsize=1)
def small_template() -> Template:
    """Two versions of the small network; made once in a process."""
    versions = {"1": small_network(11), "2": small_network(12)}
    asked = pictures()
    answers = {name: raw_answers(each, SPEC, asked) for name, each in versions.items()}
    home = make_home("small", versions, SPEC, CLASSES)
    return Template(home, "small", answers, asked)


def make_home(model: str, versions: Mapping[str, ModelContents], spec: InputSpec, classes: tuple[str, ...]) -> Home:
    """Keys, blobs and a database with those versions published."""
    folder = temporary_folder()
    home = Home.locate(folder, f"sqlite:///{folder / 'template.db'}", {})
    database = open_database(home.database_url)
    catalogue = Catalogue(database, BlobStore(home.blobs))
    key = signing_key(home.keys)
    for version, network in versions.items():
        catalogue.publish_model(network, model, version, spec, classes, convoy_bitstreams.catalogue(), key)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return home
