"""A fleet on this machine: what is written for each part, what is started, and that nothing stays. No part is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from convoy_controller.broker import Broker
from convoy_controller.errors import BrokerError
from convoy_controller.home import Home
from convoy_controller.local_fleet import LocalFleet, remove, wait_until
from convoy_controller.processes import Processes
from convoy_device import config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

URL = "mqtt://127.0.0.1:1"
PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")


def local(folder: Path) -> LocalFleet:
    fleet = LocalFleet(Home.locate(folder, f"sqlite:///{folder / 'convoy.db'}"), folder)
    fleet.broker = Broker(URL, URL, None)
    return fleet


def configuration(command: Sequence[str]) -> Path:
    return Path(command[list(command).index("--config") + 1])


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_board_gets_a_configuration_that_its_daemon_reads(tmp_path: Path) -> None:
    with local(tmp_path) as fleet:
        child = fleet.start_board("board-1", fabric="processor", queue_frames=9, pace=0.5)
        read = config.load(tmp_path / "boards" / "board-1.toml")
        assert (read.name, read.site, read.broker) == ("board-1", "local", URL)
        assert (read.fabric, read.queue_frames, read.pace) == ("processor", 9, 0.5)
        assert read.trusted_key == fleet.home.trusted_key
        assert read.state_dir == tmp_path / "boards" / "board-1"
        assert fleet.boards == ["board-1"]
        assert configuration(child.argv) == tmp_path / "boards" / "board-1.toml"
        assert child.env["OPENBLAS_NUM_THREADS"] == "1"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(PRINTABLE, min_size=1, max_size=30), st.floats(0.001, 9999))
def test_whatever_a_setting_holds_it_is_read_as_it_was_written(tmp_path: Path, text: str, pace: float) -> None:
    fleet = local(tmp_path)
    started: list[list[str]] = []
    fleet._start = lambda name, command, **options: started.append(command)  # type: ignore[assignment, return-value]
    fleet.start_board("board-1", state_dir=f"/tmp/{text}", pace=pace)
    read = config.load(configuration(started[-1]))
    assert (str(read.state_dir), read.pace) == (str(Path(f"/tmp/{text}")), pace)


def test_every_part_is_a_process_with_a_log_and_none_outlives_the_fleet(tmp_path: Path) -> None:
    with local(tmp_path) as fleet:
        fleet.start_controller()
        address = fleet.start_gateway("gate")
        fleet.start_board("board-1")
        fleet.start_board("board-2")
        assert fleet.gateways == {"gate": address}
        assert fleet.processes.names == ("controller", "gate", "board-1", "board-2")
        logs = [tmp_path / "logs" / f"{name}.log" for name in fleet.processes.names]
        assert wait_until(lambda: all(log.exists() and log.read_text() for log in logs), 40)
        pids = [fleet.processes[name].pid for name in fleet.processes.names]
        assert all(exists(pid) for pid in pids)
    assert not any(exists(pid) for pid in pids)


def test_a_failure_inside_stops_everything_too(tmp_path: Path) -> None:
    fleet = local(tmp_path)

    def fails() -> None:
        with fleet:
            fleet.start_board("board-1")
            raise RuntimeError("a test's own")

    with pytest.raises(RuntimeError, match="a test's own"):
        fails()
    assert not fleet.processes["board-1"].alive


def test_the_broker_that_is_asked_for_is_there_or_is_said_not_to_be(tmp_path: Path) -> None:
    with LocalFleet(Home.locate(tmp_path), tmp_path) as fleet:
        with pytest.raises(BrokerError, match="no broker answers"):
            fleet.start_broker(URL)
        broker = fleet.start_broker("auto")
        assert fleet.url == broker.url
        assert "broker" in fleet.processes
        assert isinstance(fleet.processes, Processes)
        other = LocalFleet(Home.locate(tmp_path), tmp_path / "other")
        assert other.start_broker(broker.url).process is None, "one that runs is used, not owned"
        other.stop()
        assert fleet.processes["broker"].alive


def test_waiting_ends_when_it_happens_or_when_the_time_is_up() -> None:
    calls = iter([False, False, True])
    assert wait_until(lambda: next(calls), 5, 0.001)
    assert not wait_until(lambda: False, 0.01, 0.001)


def test_removing_takes_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    remove(tmp_path / "a")
    remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()
