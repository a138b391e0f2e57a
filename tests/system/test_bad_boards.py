"""Boards that cannot do what they are told, two daemons with one name, artifacts damaged on their way."""

from __future__ import annotations

import dataclasses
import os
import zlib
from pathlib import Path

import convoy_bitstreams
import pytest
from convoy_bitstreams import Catalogue as Images
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.database.records import DeploymentState
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import wait_until
from convoy_schema import codec
from convoy_schema.artifacts import BLOCK_BYTES, Manifest, cut, pack
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Capability, Want
from convoy_schema.names import digest_of
from convoy_schema.topics import BlockTopic, ManifestTopic
from system_fleet import CLASSES, PATIENCE_S, SPEC, Intruder, SystemFleet, small_network


def images_for_another_part() -> Images:
    """The shipped images, with shells said to be made for a part that no board here has: only a board can tell."""
    shipped = convoy_bitstreams.catalogue()
    shells = tuple(dataclasses.replace(image, part="another-part") for image in shipped.shells)
    return dataclasses.replace(shipped, shells=shells)


def test_a_board_whose_shell_does_not_fit_says_so_and_is_left_out(tmp_path: Path) -> None:
    with SystemFleet(tmp_path) as fleet:
        fleet.start(1)
        key = signing_key(fleet.home.keys)
        catalogue = Catalogue(fleet.database, BlobStore(fleet.home.blobs))
        catalogue.publish_model(small_network(), "foreign", "1", SPEC, CLASSES, images_for_another_part(), key)
        fleet.request(Method.ALLOCATE, 1, "foreign")
        event = fleet.wait_event("abandoned", "shell")
        assert event.board == "board-1"
        assert "shell-mismatch" in event.sentence
        assert wait_until(lambda: "shell-mismatch" in fleet.why("board-1"), PATIENCE_S), fleet.why("board-1")
        assert "emulated-xc7z020" in fleet.why("board-1")

        def is_said() -> bool:
            line = fleet.deployment("foreign")
            return line.state is DeploymentState.PENDING and "shell-mismatch" in line.message

        assert wait_until(is_said, PATIENCE_S), fleet.deployment("foreign")
        fleet.deploy(Method.ALLOCATE, 1)
        fleet.still_serves()
        assert wait_until(lambda: "Meanwhile board-1 serves" in fleet.why("board-1"), PATIENCE_S), fleet.why("board-1")


@pytest.mark.long
def test_a_board_that_cannot_load_a_shell_is_not_asked_to(tmp_path: Path) -> None:
    with SystemFleet(tmp_path) as fleet:
        fleet.start(0)
        capability = Capability(77, "old-part", "emulated", ("layers",), (), 100_000_000, 2**28, 64, "0")
        fleet.wait_event("in-charge")
        with Intruder(fleet.local.url) as old:
            old.publish(fleet.topics.board("old-board", "capability"), codec.encode(capability))
            fleet.wait_boards("old-board")
            fleet.request(Method.LIBRARY, 1)

            def waits() -> bool:
                line = fleet.deployment()
                return line.state is DeploymentState.PENDING and "shell partitions" in line.message

            assert wait_until(waits, PATIENCE_S), fleet.deployment()
            fleet.local.start_board("board-1")
            fleet.wait_serving(1)
        assert [stage.replicas[0].board for stage in fleet.plan().stages] == ["board-1"]
        fleet.still_serves()


def test_of_two_daemons_with_one_name_the_older_stops_and_says_why(tmp_path: Path) -> None:
    with SystemFleet(tmp_path) as fleet:
        fleet.serve(2)
        older = fleet.local.processes["board-1"]
        with fleet.traffic() as traffic:
            fleet.start_daemon("board-1-again", "board-1")
            assert wait_until(lambda: older.returncode is not None, PATIENCE_S)
            assert older.returncode == 3
            assert "another daemon runs as board board-1" in fleet.log("board-1")
            assert fleet.wait_event("session-taken").board == "board-1"
            fleet.wait_serving(2)
            traffic.wait_answers(100)
        traffic.check()
        assert fleet.local.processes["board-1-again"].alive
        fleet.still_serves()


def test_damaged_blocks_and_false_manifests_only_cost_time(tmp_path: Path) -> None:
    """An intruder answers every want faster than the controller does, with rubbish."""
    noise = os.urandom(3 * BLOCK_BYTES)
    lie, packed = pack(noise)
    with SystemFleet(tmp_path) as fleet:
        fleet.start(0)
        topics = fleet.topics
        sent = {"blocks": 0, "manifests": 0}
        with Intruder(fleet.local.url) as intruder:

            def answer(topic: str, payload: bytes) -> None:
                address = topics.parse(topic)
                if isinstance(address, (BlockTopic, ManifestTopic)) or not payload:
                    return
                want = codec.decode(Want, payload)
                if sent["manifests"] < 20:  # first: once the artifact is whole, nobody reads it any more
                    sent["manifests"] += 1
                    other = dataclasses.replace(lie, digest=digest_of(b"other"))
                    intruder.publish(topics.manifest(want.digest), codec.encode(other), wait=False)
                for block in want.blocks:
                    sent["blocks"] += 1
                    damaged = cut(packed, block % lie.blocks)
                    intruder.publish(topics.block(want.digest, block), damaged, wait=False)

            intruder.answer = answer
            intruder.subscribe(topics.board("+", "want"))
            fleet.local.start_board("board-1")
            fleet.deploy(Method.LIBRARY, 1)
            assert wait_until(lambda: min(sent.values()) > 0, PATIENCE_S), sent
        fleet.still_serves()
        fleet.wait_log("board-1", f"names {digest_of(b'other')[:12]}")


@pytest.mark.long
def test_a_manifest_of_other_content_is_found_out_and_fetched_anew(tmp_path: Path) -> None:
    """The blocks are what the manifest says, and together they are not the artifact that it is the manifest of."""
    network = small_network()
    digest = next(iter(network.parameters))
    false = b"not these parameters" * 100
    with SystemFleet(tmp_path) as fleet:
        fleet.publish()
        fleet.local.start_broker("auto")
        fleet.local.start_controller()
        fleet.local.start_gateway()
        with Intruder(fleet.local.url) as intruder:
            manifest, packed = pack(false)
            lying = codec.encode(Manifest(digest, manifest.size, manifest.packed_size, manifest.hashes))
            lies, blocks = [lying], [packed]

            def answer(topic: str, payload: bytes) -> None:
                address = fleet.topics.parse(topic)
                if isinstance(address, ManifestTopic) and payload != lying and lies:
                    # Retained, before any board comes: what it hears first is the lie.
                    intruder.publish(topic, lies.pop(), retain=True, wait=False)
                elif not isinstance(address, ManifestTopic):
                    want = codec.decode(Want, payload)
                    if want.digest == digest and want.blocks and blocks:
                        intruder.publish(fleet.topics.block(digest, 0), blocks.pop(), wait=False)

            intruder.answer = answer
            intruder.subscribe(fleet.topics.manifest(digest), fleet.topics.board("+", "want"))
            fleet.request(Method.ALLOCATE, 1)
            assert wait_until(lambda: not lies, PATIENCE_S), "the controller announced nothing"
            fleet.local.start_board("board-1")
            fleet.wait_serving(1)
            assert not blocks, "the board never asked for the false block"
        fleet.still_serves()
        fleet.wait_log("board-1", f"artifact {digest[:12]}")
    assert zlib.decompress(packed) == false
