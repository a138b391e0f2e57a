"""A fleet as large as its user thinks of: one shipped model, deployments of so many boards each."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import cast

import numpy as np
from convoy_controller.broker import TEMPLATE
from convoy_controller.database import board_records, records
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.models import BoardRow
from convoy_controller.datasets import digits
from convoy_controller.enrollment.broker_files import CONFIGURATION
from convoy_controller.importer import import_model
from convoy_models import SHIPPED, ShippedModel
from convoy_schema.bundle import InputSpec
from convoy_schema.messages.desired import Cut, Intent
from sqlalchemy import Table, insert, select

from convoy_simulator.broker_limits import Limits, limits_of
from convoy_simulator.fleet import Fleet, Shape
from convoy_simulator.network import Conditions
from convoy_simulator.recorders import CountingRecorder
from convoy_simulator.template import Template, make_home

#: Messages that each board retains, about: what a broker must have room for when somebody subscribes to all of them.
RETAINED_PER_BOARD = 4
#: Connections of each board, and of all others together at the most.
LINKS_PER_BOARD, OTHER_LINKS = 2, 1000
#: Boards that one deployment may name.
MOST_NAMED = 256
CALIBRATION_ROWS = 128
VERSIONS = ("1", "2")
_BOARDS = cast("Table", BoardRow.__table__)


@lru_cache(maxsize=2)
def template_of(name: str) -> Template:
    """Two versions of a shipped model: the same file quantised by different samples."""
    model = SHIPPED[name]
    versions = {}
    with tempfile.TemporaryDirectory(prefix="convoy-simulator-") as folder:
        path = model.written(Path(folder))
        for at, version in enumerate(VERSIONS):
            samples = _samples(model)[at * CALIBRATION_ROWS : (at + 1) * CALIBRATION_ROWS]
            versions[version] = import_model(path, samples, name=name)
    spec = InputSpec(versions["1"].topology.input, model.layout, model.scale, model.offset)
    home = make_home(name, versions, spec, ())
    return Template(home, name, {}, np.zeros((0,), np.uint8))


def _samples(model: ShippedModel) -> np.ndarray:  # type: ignore[type-arg]
    if model.is_trained:
        found = digits(train=True).images[: 2 * CALIBRATION_ROWS].astype(np.float32)
        return found * np.float32(model.scale) + np.float32(model.offset)
    return model.samples(2 * CALIBRATION_ROWS)


def broker_limits(boards: int) -> Limits:
    """Of the configurations that Convoy ships, raised as they say for more boards than they are meant for."""
    shipped = _shipped_limits()
    return shipped._replace(
        max_queued_messages=max(shipped.max_queued_messages, RETAINED_PER_BOARD * boards),
        max_connections=max(shipped.max_connections, LINKS_PER_BOARD * boards + OTHER_LINKS),
    )


def raised_limits(boards: int) -> dict[str, int]:
    """What has to be raised in a broker's file for so many boards, by its name there, and to what."""
    shipped, needed = _shipped_limits()._asdict(), broker_limits(boards)._asdict()
    return {name: value for name, value in needed.items() if value != shipped[name]}


@lru_cache(maxsize=1)
def _shipped_limits() -> Limits:
    files = resources.files("convoy_controller")
    open_, secure = (limits_of(files.joinpath(name).read_text(encoding="utf-8")) for name in (TEMPLATE, CONFIGURATION))
    return open_._replace(max_connections=secure.max_connections)


class SizedFleet(Fleet):
    """`boards` boards, of which each `per_deployment` that follow one another run a deployment."""

    def __init__(
        self, template: Template, shape: Shape, conditions: Conditions, seed: int, folder: Path, per_deployment: int
    ) -> None:
        super().__init__(template, shape, conditions, seed, folder, _ignored, broker_limits(shape.boards))
        names = [board.name for board in self.boards]
        self.groups = tuple(
            tuple(names[at : at + per_deployment]) for at in range(0, len(names), min(per_deployment, MOST_NAMED))
        )

    def introduce(self) -> None:
        """Write every board into the tables, unless the controller has: owners may name only those."""
        first = self.boards[0].name
        with self.owner.write() as db:
            board_records.first_heard(db, records.utc_now(), first)
            there = set(db.scalars(select(_BOARDS.c.name)))
            others = [board.name for board in self.boards if board.name not in there]
            known = db.execute(select(*_BOARDS.c).where(_BOARDS.c.name == first)).one()._mapping
            if others:
                db.execute(insert(_BOARDS), [{**known, "name": name} for name in others])

    def records_counted(self) -> Counter[str]:
        """What the controller would have written so far, by kind."""
        recorder = self.controller.last_recorder
        return recorder.counted if isinstance(recorder, CountingRecorder) else Counter()

    def request_all(self, version: str) -> None:
        """Ask for every deployment at once, with that version."""
        for number, names in enumerate(self.groups):
            intent = Intent(
                f"fleet-{number}",
                self.template.model,
                version,
                self.shape.method,
                len(names),
                cut=Cut.REPLICATED,
                batch=8,
                board_names=names,
            )
            request_deployment(self.owner, intent)


def _ignored(what: str) -> None:
    """Sizes are asked for; the runs with an independent ledger look for faults."""
