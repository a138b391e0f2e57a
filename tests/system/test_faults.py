"""Ten faults in one fleet of real processes, each injected for real, and the sentence by which each can be told.

Whoever is on call has `why` and nothing else: it is what the dashboard, the API and the command line show. Each fault
has a board of its own; afterwards what can be mended is, and the sentences are gone.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import convoy_bitstreams
import pytest
from convoy_bitstreams import Catalogue as Images
from convoy_controller.bench.networks import dense_layer, incompressible
from convoy_controller.bench.rig import Described
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.cli import app
from convoy_controller.database import queries
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.views import Condition, Why
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import wait_until
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.topology import Kind
from system_fleet import CLASSES, PATIENCE_S, SPEC, SystemFleet, pictures, small_network
from typer.testing import CliRunner

BIG_SPEC = InputSpec("t0", "C", 1.0, 0.0)
#: A daemon that speaks a version of the protocol that is yet to come.
FUTURE = (
    "import sys; from convoy_schema import version; version.CURRENT = version.OLDEST = 3; "
    "from convoy_device.cli import main; sys.exit(main(sys.argv[1:]))"
)
#: What is read of each board, by its fault.
SENTENCES = {
    "dead": (Condition.OFFLINE, r"dead has been offline since .* ended: the connection was lost"),
    "flapping": (
        Condition.FLAPPING,
        r"flapping comes and goes since .* at least \d times within minutes, \d of these times as a new session; "
        r"its daemon dies and is started again",
    ),
    "stuck": (
        Condition.STUCK,
        r"stuck is stuck in fetching at \d+ of \d+ bytes for stage 1 of 1 of damaged .* nothing has moved since .* "
        r"the controller cannot send artifact \w+: block \d .* does not match its hash",
    ),
    "wrong-shell": (
        Condition.WRONG_SHELL,
        r"wrong-shell has the wrong shell .* the stage needs 'layers', and the bundle has no image of it for "
        r"emulated-xc7z020",
    ),
    "store-full": (
        Condition.STORE_FULL,
        r"store-full has no room in its store .* the store may hold 1048576 bytes .* raise store_quota_mb",
    ),
    "degraded": (
        Condition.DEGRADED,
        r"degraded is degraded since .* partition \w+ of shell partitions failed to configure and stays decoupled .* "
        r"should hold a conv2d now and reads back as a max-pool",
    ),
    "slow": (
        Condition.SLOW_LINK,
        r"slow has a slow link since .* its frames wait \d+ ms for their way out, ",
    ),
    "overloaded": (
        Condition.OVERLOADED,
        r"overloaded is overloaded since .* more is asked of busy than it can do; \d+ rows of busy wait",
    ),
    "revoked": (
        Condition.REVOKED,
        r"revoked has stopped stage 1 of 1 of doomed .* since the bundle was revoked, since .* serial 2 is the lowest",
    ),
    "future": (
        Condition.VERSION_OUT_OF_RANGE,
        r"future speaks a version of the protocol that is out of range since .* it needs protocol 3 or newer, 1 ",
    ),
}


class FaultyFleet(SystemFleet):
    """One board for each fault, named after it."""

    def place(
        self, name: str, *boards: str, model: str = "", version: str = "1", method: Method = Method.ALLOCATE
    ) -> None:
        cut, count = Cut.PIPELINE, len(boards)
        wanted = Intent(name, model or name, version, method, count, cut=cut, batch=8, board_names=boards)
        request_deployment(self.database, wanted)

    def damage(self, network: Described) -> tuple[Path, bytes]:
        """Bits of its parameters fall over on the controller's disk; the file, and what was in it."""
        (digest,) = network.parameters
        (blob,) = self.home.blobs.glob(f"??/{digest}")
        whole = blob.read_bytes()
        blob.write_bytes(whole[:-16] + bytes(16))
        return blob, whole

    def note_sentences(self, said: dict[str, Why]) -> bool:
        """Whether each fault could be told from its board's sentence at some moment, as `said` keeps them."""
        for board, (condition, words) in SENTENCES.items():
            answer = queries.why(self.database, board)
            if answer.condition is condition and re.search(words, f"{answer.sentence} {answer.action}"):
                said.setdefault(board, answer)
        return len(said) == len(SENTENCES)

    def publish_with(self, images: Images, name: str) -> None:
        catalogue = Catalogue(self.database, BlobStore(self.home.blobs))
        catalogue.publish_model(small_network(), name, "1", SPEC, CLASSES, images, signing_key(self.home.keys))

    def publish_big(self, name: str, outputs: int, seed: int) -> Described:
        network = dense_layer(name, incompressible(outputs, 1000, seed))
        self.publish(network, name, spec=BIG_SPEC)
        return network

    def revoke(self, model: str, version: str) -> None:
        done = CliRunner().invoke(
            app, ["key", "floor", "set", model, "--version", version, "--force", "--home", str(self.home.root)]
        )
        assert done.exit_code == 0, (done.output, done.exception)

    def start_future(self) -> None:
        """A real daemon, of another release."""
        self.local.start_board("future")
        config = self.directory / "boards" / "future.toml"
        self.local.processes.stop_one("future")
        command = [sys.executable, "-c", FUTURE, "run", "--config", str(config)]
        self.local.processes.start("future-3", command, self.directory / "logs" / "future-3.log", tier="boards")

    def crash(self, board: str, times: int) -> None:
        for _ in range(times):
            child = self.local.processes[board]
            before = self.session(board)
            self.local.processes.kill(board)
            assert wait_until(lambda child=child: not child.alive, PATIENCE_S)
            self.local.processes.restart(board)
            assert wait_until(lambda before=before: self.session(board) != before, PATIENCE_S)

    def session(self, board: str) -> int:
        return queries.board(self.database, board).facts.session

    def explained(self, board: str) -> Why:
        return queries.why(self.database, board)


def without_shell_for_this_part() -> Images:
    shipped = convoy_bitstreams.catalogue()
    return dataclasses.replace(
        shipped, shells=tuple(dataclasses.replace(image, part="another-part") for image in shipped.shells)
    )


def with_a_pool_for_a_convolution() -> Images:
    """Sound images, of which those for convolutions are max-pools': only who has loaded one can tell."""
    shipped = convoy_bitstreams.catalogue()
    pools = {(m.part, m.partition): m.digest for m in shipped.modules if m.kind is Kind.MAX_POOL}
    modules = tuple(
        dataclasses.replace(m, digest=pools[m.part, m.partition]) if m.kind is Kind.CONV2D else m
        for m in shipped.modules
    )
    return dataclasses.replace(shipped, modules=modules)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FaultyFleet]:
    with FaultyFleet(tmp_path) as made:
        made.start(0)
        for board in ("dead", "flapping", "stuck", "wrong-shell", "degraded", "near", "revoked"):
            made.local.start_board(board)
        made.local.start_board("store-full", store_quota_mb=1)
        made.local.start_board("slow", link_bytes_per_s=1e9, link_frame_s=0.1)
        made.local.start_board("overloaded", pace=200.0)
        made.start_future()
        yield made


def load(fleet: FaultyFleet, model: str, rows: int, stop: threading.Event) -> threading.Thread:
    """Ask for so much at once, again and again, until told to stop."""

    def ask() -> None:
        import convoy

        while not stop.is_set():
            try:
                with convoy.connect(fleet.address, timeout_s=PATIENCE_S) as client:
                    while not stop.is_set():
                        client.infer(pictures(rows), model)
            except Exception as error:  # what becomes of requests is not asked here
                print(f"{model}: {error}")
                stop.wait(0.1)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


@pytest.mark.long
def test_each_of_ten_faults_has_its_sentence_and_loses_it_when_mended(fleet: FaultyFleet) -> None:
    fleet.wait_boards(*(set(SENTENCES) - {"future"}), "near")
    damaged = fleet.publish_big("damaged", 100, seed=1)
    fleet.publish_big("bulky", 1200, seed=2)
    fleet.publish(name="doomed")
    fleet.publish(name="doomed", version="2")
    fleet.publish_with(without_shell_for_this_part(), "foreign")
    fleet.publish_with(with_a_pool_for_a_convolution(), "mislabelled")
    blob, whole = fleet.damage(damaged)
    fleet.place("damaged", "stuck")
    fleet.place("bulky", "store-full")
    fleet.place("doomed", "revoked")
    fleet.place("foreign", "wrong-shell")
    fleet.place("mislabelled", "degraded", method=Method.LIBRARY)
    fleet.place("small", "slow", "near")
    fleet.place("busy", "overloaded", model="small")
    fleet.local.processes.kill("dead")
    for name, boards in (("small", 2), ("busy", 1), ("doomed", 1)):
        fleet.wait_serving(boards, name)
    enough = threading.Event()
    callers = [load(fleet, "small", 4, enough), load(fleet, "busy", 1000, enough)]
    fleet.revoke("doomed", "2")
    fleet.crash("flapping", 3)
    # Not all at once: what is stuck is given up after a minute, which is another sentence.
    said: dict[str, Why] = {}
    all_said = wait_until(lambda: fleet.note_sentences(said), 2 * PATIENCE_S, 0.25)
    missing = {board: fleet.explained(board) for board in SENTENCES if board not in said}
    assert all_said, "\n".join(f"{answer.condition.value}: {answer.sentence}" for answer in missing.values())
    for answer in said.values():
        print(f"{answer.sentence}\n    To do: {answer.action}.")
        assert answer.condition.is_problem
        assert answer.since is not None
        assert answer.action
    assert fleet.explained("near").condition is Condition.READY, fleet.explained("near")

    # Mended, what was wrong is said no more; only a board that came and went has to stay for five minutes.
    enough.set()
    blob.write_bytes(whole)
    fleet.place("damaged", "stuck")  # asked for again: on a busy machine it was given up meanwhile
    for name in ("bulky", "foreign", "mislabelled"):
        fleet.withdraw(name)
    fleet.place("whole", "degraded", model="small", method=Method.LIBRARY)
    fleet.place("doomed", "revoked", version="2")
    for board in ("slow", "future-3"):
        fleet.local.processes.stop_one(board)
    for board in ("slow", "future"):
        fleet.local.start_board(board)
    fleet.local.processes.restart("dead")

    def sick() -> list[str]:
        answers = [fleet.explained(board) for board in SENTENCES if board != "flapping"]
        return [answer.sentence for answer in answers if answer.condition.is_problem]

    assert wait_until(lambda: not sick(), 2 * PATIENCE_S, 0.25), "\n".join(sick())
    assert fleet.explained("flapping").condition is Condition.FLAPPING
    for thread in callers:
        thread.join(PATIENCE_S)
