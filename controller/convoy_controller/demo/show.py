"""The demonstration from beginning to end: a fleet starts, LeNet-5 is deployed, digits go through, a board is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import convoy_bitstreams
import convoy_models
import numpy as np
from convoy_schema import layers
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent
from numpy.typing import NDArray

from convoy_controller import lenet5
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.database import queries
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import DeploymentState, GenerationState
from convoy_controller.datasets import UNLABELLED, Dataset
from convoy_controller.demo.ledger import Ledger, Summary
from convoy_controller.demo.load import Load
from convoy_controller.demo.observer import Observer
from convoy_controller.demo.samples import load_samples, repeated
from convoy_controller.demo.screen import Screen
from convoy_controller.demo.trickle import Trickle
from convoy_controller.errors import DemoError
from convoy_controller.importer import ImportedModel
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import LocalFleet, wait_until

MODEL = "lenet5"
VERSION = "1"
#: Seconds for the fleet to serve, and for a killed board to be worked around.
SERVE_S = 60.0
RECOVER_S = 30.0
#: Seconds between digits on the screen.
DIGIT_EVERY_S = 1.5
#: Seconds for the last pulses to say what was published.
LAST_WORDS_S = 1.3


@dataclass(frozen=True)
class DemoOptions:
    """What `convoy demo` was asked for."""

    boards: int = 3
    method: Method = Method.LIBRARY
    cut: Cut = Cut.PIPELINE
    data: str = "digits"
    data_dir: Path | None = None
    images: int | None = None
    kill: bool = False
    callers: int = 8
    rows: int = 1
    broker: str = "auto"
    port: int = 0
    fabric: str = "emulated"


class Demo:
    """One run over `fleet`, shown on `screen`."""

    def __init__(self, options: DemoOptions, fleet: LocalFleet, screen: Screen) -> None:
        self.options = options
        self.fleet = fleet
        self.screen = screen
        self._database: Database | None = None

    def run(self, on_serving: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """Everything up to the account, which it returns; raises `DemoError` when the fleet does not come to serve.

        `on_serving` is called once it does.
        """
        found = self._samples()
        samples = repeated(found, self.options.images)
        distinct = min(len(samples), len(found))
        self._database = open_database(self.fleet.home.database_url)
        try:
            with self.screen.waiting("quantising LeNet-5 and signing its bundle"):
                imported = self._publish()
            self._start()
            on_serving()
            observer = Observer(self.fleet.url, self.fleet.site)
            observer.start()
            try:
                return self._serve(samples, distinct, imported, observer)
            finally:
                observer.stop()
        finally:
            self._database.close()

    def trickle(self) -> Trickle:
        """What goes on afterwards."""
        return Trickle(list(self.fleet.gateways.values()), self._samples().images)

    # Before ----------------------------------------------------------------------------------------------------------

    def _samples(self) -> Dataset:
        shape, names = convoy_models.LENET5.shape, convoy_models.LENET5.class_names
        return load_samples(self.options.data, self.options.data_dir, shape, names)

    def _publish(self) -> ImportedModel:
        imported, source = lenet5.quantised(MODEL)
        key = signing_key(self.fleet.home.keys)
        catalogue = Catalogue(self._open, BlobStore(self.fleet.home.blobs))
        classes = convoy_models.LENET5.class_names
        catalogue.publish_model(imported, MODEL, VERSION, source, classes, convoy_bitstreams.catalogue(), key)
        return imported

    @property
    def _open(self) -> Database:
        assert self._database is not None, "run opens it"
        return self._database

    def _start(self) -> None:
        options, fleet = self.options, self.fleet
        broker = fleet.start_broker(options.broker)
        fleet.start_controller()
        address = fleet.start_gateway(port=options.port)
        for number in range(1, options.boards + 1):
            fleet.start_board(f"board-{number}", fabric=options.fabric)
        request_deployment(self._open, self._intent())
        self.screen.say(f"broker {broker.url} ({broker.label}), gateway {address}, {options.boards} emulated boards")
        with self.screen.waiting(f"deploying by method {options.method.value}"):
            if not wait_until(self._is_serving, SERVE_S):
                raise DemoError(self._what_is_wrong())
        self._show_plan()

    def _intent(self) -> Intent:
        options = self.options
        return Intent(MODEL, MODEL, VERSION, options.method, options.boards, cut=options.cut)

    def _is_serving(self) -> bool:
        self._bury()
        line = queries.deployment(self._open, MODEL)
        return line.state is DeploymentState.SERVING and line.ready_boards >= line.assigned_boards > 0

    def _bury(self) -> None:
        """A process that died unasked ends the demonstration with its last words."""
        for death in self.fleet.processes.poll(time.monotonic()):
            raise DemoError(str(death))

    def _what_is_wrong(self) -> str:
        lines = [f"the fleet did not come to serve within {SERVE_S:.0f} s"]
        lines.append(queries.deployment(self._open, MODEL).message)
        lines += [why.sentence for name in self.fleet.boards if (why := queries.why(self._open, name)).sentence]
        return "\n".join(line for line in lines if line)

    def _show_plan(self) -> None:
        self.screen.plan(queries.plan(self._open, MODEL))

    # During ----------------------------------------------------------------------------------------------------------

    def _serve(self, samples: Dataset, distinct: int, imported: ImportedModel, observer: Observer) -> dict[str, Any]:
        expected = _reference(imported, samples.images[:distinct])
        ledger = Ledger(samples.labels, expected[np.arange(len(samples)) % distinct])
        load = Load(
            list(self.fleet.gateways.values()),
            samples.images,
            ledger,
            callers=self.options.callers,
            rows=self.options.rows,
        )
        load.start()
        try:
            loss = self._watch(load, ledger, samples)
        finally:
            load.stop()
        time.sleep(LAST_WORDS_S)
        summary = ledger.summary()
        report = self._report(summary, distinct, loss, observer)
        self.screen.result(report)
        return report

    def _watch(self, load: Load, ledger: Ledger, samples: Dataset) -> Loss | None:
        """Show progress until every image has its answer; half way, kill a board if that was asked for."""
        loss: Loss | None = None
        shown, next_digit = 0, time.monotonic() + 0.2
        began = time.monotonic()
        with self.screen.progress() as bar:
            task = bar.add_task("images", total=len(samples), rate="")
            while not load.is_done:
                time.sleep(0.02)
                done = ledger.done
                rate = done / max(1e-6, time.monotonic() - began)
                bar.update(task, completed=done, rate=f"{rate:.0f}/s")
                if self.options.kill and loss is None and done >= len(samples) // 2:
                    loss = self._kill(ledger)
                if loss is None or loss.recovered is not None:
                    self._bury()
                if loss is not None and loss.recovered is None:
                    self._see_recovery(loss, ledger)
                if time.monotonic() >= next_digit and done > shown:
                    shown, next_digit = done, time.monotonic() + DIGIT_EVERY_S
                    self._show_digit(ledger, samples, done - 1)
            bar.update(task, completed=ledger.done)
        if loss is not None and loss.recovered is None:
            self._see_recovery(loss, ledger)
        return loss

    def _kill(self, ledger: Ledger) -> Loss:
        stages = queries.plan(self._open, MODEL).stages
        board = stages[len(stages) // 2].replicas[0].board
        loss = Loss(board, time.monotonic(), ledger.generations)
        self.fleet.processes.kill(board)
        self.screen.say(f"SIGKILL to {board}, which ran {', '.join(stages[len(stages) // 2].layers)}", "bold red")
        return loss

    def _see_recovery(self, loss: Loss, ledger: Ledger) -> None:
        first = ledger.first_answer_after(loss.at, loss.generations)
        if first is None:
            return
        loss.recovered = first[0] - loss.at
        self.screen.say(f"generation {first[1]} answers, {loss.recovered:.2f} s after the loss", "bold green")
        self._show_plan()

    def _show_digit(self, ledger: Ledger, samples: Dataset, number: int) -> None:
        answer = ledger.class_of(number)
        if answer is None:
            return
        names = convoy_models.LENET5.class_names
        label = int(samples.labels[number])
        self.screen.digit(samples.images[number], names[answer], "" if label == UNLABELLED else names[label])

    # After -----------------------------------------------------------------------------------------------------------

    def _report(self, summary: Summary, distinct: int, loss: Loss | None, observer: Observer) -> dict[str, Any]:
        broker = self.fleet.broker
        published = observer.published()
        return {
            "method": self.options.method.value,
            "broker": broker.label if broker is not None else "",
            "boards": self.options.boards,
            "data": self.options.data,
            "images": summary.images,
            "distinct_images": distinct,
            "correct": summary.correct,
            "accuracy": summary.accuracy,
            "lost": summary.lost,
            "failed": summary.failed,
            "duplicated": summary.duplicated,
            "wrong": summary.wrong,
            "wrong_generation": self._wrong_generation(summary),
            "throughput_per_s": round(summary.throughput_per_s, 1),
            "latency_ms": {"p50": round(summary.latency_p50_ms, 3), "p99": round(summary.latency_p99_ms, 3)},
            "killed": loss.board if loss is not None else None,
            "recovery_s": round(loss.recovered, 3) if loss is not None and loss.recovered is not None else None,
            "generations": summary.generations,
            "bytes_published": {
                "control": published.control,
                "artifacts": published.artifacts,
                "activations": published.activations,
            },
            "plan": self._plans(),
            "errors": summary.errors,
        }

    def _wrong_generation(self, summary: Summary) -> int:
        """Answers that name a generation which the database does not know to have served."""
        served = {GenerationState.SERVING, GenerationState.DRAINING, GenerationState.RETIRED}
        known = {str(g.generation) for g in queries.generations(self._open, MODEL) if g.state in served}
        return sum(count for name, count in summary.generations.items() if name not in known)

    def _plans(self) -> list[dict[str, Any]]:
        """Every generation's plan, oldest first."""
        plans = []
        for line in reversed(queries.generations(self._open, MODEL)):
            view = queries.plan(self._open, MODEL, line.generation)
            stages = [
                {"layers": list(stage.layers), "boards": [replica.board for replica in stage.replicas]}
                for stage in view.stages
            ]
            plans.append({"generation": str(line.generation), "state": line.state.value, "stages": stages})
        return plans


@dataclass
class Loss:
    """A board killed on purpose; `recovered` is how long the next generation's first answer took, in seconds."""

    board: str
    at: float
    generations: frozenset[str]
    recovered: float | None = None


def _reference(imported: ImportedModel, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of one process with the same arithmetic: what every answer must equal to the last bit."""
    topology = imported.topology
    spec = convoy_models.LENET5
    source, output = topology.tensor(topology.input), topology.tensor(topology.output)
    found = []
    for start in range(0, len(images), 256):
        real = images[start : start + 256].astype(np.float32) * np.float32(spec.scale) + np.float32(spec.offset)
        values = layers.evaluate(topology, imported.parameters, layers.quantise(real, source))
        found.append(layers.dequantise(values[topology.output], output))
    return np.concatenate(found)


def is_clean(report: dict[str, Any]) -> bool:
    """Whether nothing was lost, failed, doubled or wrong, and a killed board was worked around."""
    faults = ("lost", "failed", "duplicated", "wrong", "wrong_generation")
    if any(report[fault] for fault in faults):
        return False
    return report["killed"] is None or report["recovery_s"] is not None


def write_report(report: dict[str, Any], path: Path) -> None:
    """The account as JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
