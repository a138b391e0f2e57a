"""Real processes: short Python and shell programs stand in for brokers and boards."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from convoy_controller import tether
from convoy_controller.errors import ProcessError
from convoy_controller.processes import (
    Death,
    Processes,
    Restart,
    how_it_ended,
    restart_delay,
    tail_of,
)
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S

SLEEP = ["sleep", "60"]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as owner:
        yield owner


def exists(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(true: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def says(file: Path, text: str) -> Callable[[], bool]:
    return lambda: file.exists() and text in file.read_text()


def deaths_within(owner: Processes, seconds: float = PATIENCE_S) -> list[Death]:
    found: list[Death] = []
    eventually(lambda: bool(found.extend(owner.poll(time.monotonic())) or found), seconds)
    return found


def test_a_child_has_its_environment_log_and_directory(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "one.log"
    script = "echo $GREETING; pwd; echo trouble >&2"
    child = processes.start("one", ["sh", "-c", script], log, env={"GREETING": "hello"}, cwd=tmp_path)
    assert child.process.wait(PATIENCE_S) == 0
    assert log.read_text().splitlines() == ["hello", str(tmp_path), "trouble"]


def test_its_process_id_is_that_of_the_command(processes: Processes, tmp_path: Path) -> None:
    child = processes.start("one", ["sh", "-c", "echo $$"], tmp_path / "log")
    child.process.wait(PATIENCE_S)
    assert child.tail() == str(child.pid)


def test_an_unknown_program_is_named(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="there is no program 'no-such-program'"):
        processes.start("one", ["no-such-program"], tmp_path / "log")
    assert processes.names == ()


def test_a_name_is_used_once_at_a_time(processes: Processes, tmp_path: Path) -> None:
    processes.start("one", SLEEP, tmp_path / "log")
    with pytest.raises(ProcessError, match="'one' runs already"):
        processes.start("one", SLEEP, tmp_path / "log")
    with pytest.raises(ProcessError, match="no child 'two', but one"):
        processes["two"]
    assert "one" in processes
    assert "two" not in processes


def test_another_thread_may_not_start_a_child(processes: Processes, tmp_path: Path) -> None:
    refused: list[ProcessError] = []

    def start() -> None:
        try:
            processes.start("one", SLEEP, tmp_path / "log")
        except ProcessError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refused[0])


def test_wait_ready_returns_when_ready(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes.start("one", ["sh", "-c", "sleep 0.1; echo up; sleep 60"], log)
    processes.wait_ready("one", lambda: "up" in log.read_text(), PATIENCE_S)
    assert processes["one"].alive


def test_wait_ready_quotes_the_log_of_a_child_that_dies(processes: Processes, tmp_path: Path) -> None:
    processes.start("one", ["sh", "-c", "echo no such port; exit 3"], tmp_path / "log")
    with pytest.raises(ProcessError, match=r"one ended with code 3 before it was ready; .*:\nno such port"):
        processes.wait_ready("one", lambda: False)
    assert processes.poll(time.monotonic()) == []


def test_wait_ready_has_a_deadline(processes: Processes, tmp_path: Path) -> None:
    def nobody_there() -> bool:
        raise ConnectionRefusedError

    processes.start("one", SLEEP, tmp_path / "log")
    with pytest.raises(ProcessError, match=r"one was not ready within 0\.1 s; .* is empty"):
        processes.wait_ready("one", nobody_there, timeout_s=0.1)


def test_a_death_is_told_once_with_the_end_of_its_log(processes: Processes, tmp_path: Path) -> None:
    child = processes.start("one", ["sh", "-c", "seq 1 100; kill -9 $$"], tmp_path / "log")
    (death,) = deaths_within(processes)
    assert (death.name, death.pid, death.returncode) == ("one", child.pid, -signal.SIGKILL)
    assert death.tail.splitlines() == [str(number) for number in range(86, 101)]
    assert str(death).startswith(f"one (pid {child.pid}) was ended by SIGKILL; the end of its log:\n86")
    assert processes.poll(time.monotonic()) == []


def test_a_death_that_was_asked_for_is_none_to_tell(processes: Processes, tmp_path: Path) -> None:
    processes.start("one", SLEEP, tmp_path / "log", restart=Restart(0.0))
    processes.kill("one")
    assert eventually(lambda: not processes["one"].alive)
    assert processes.poll(time.monotonic()) == []
    assert processes["one"].returncode == -signal.SIGKILL


def test_a_paused_child_counts_as_alive_and_can_be_stopped(processes: Processes, tmp_path: Path) -> None:
    processes.start("one", SLEEP, tmp_path / "log")
    processes.kill("one", signal.SIGSTOP)
    assert processes["one"].alive
    began = time.monotonic()
    assert processes.stop_one("one", deadline_s=PATIENCE_S) == -signal.SIGTERM
    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_child_is_started_again_when_due(processes: Processes, tmp_path: Path) -> None:
    first = processes.start("one", SLEEP, tmp_path / "log", restart=Restart(delay_s=5.0)).pid
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not processes["one"].alive)
    (death,) = processes.poll(1000.0)
    assert death.restart_in_s == 5.0
    assert "starts again in 5 s" in str(death)
    assert processes.poll(1004.9) == []
    assert not processes["one"].alive
    assert processes.poll(1005.0) == []
    assert processes["one"].alive
    assert processes["one"].pid != first


def test_restart_ends_the_old_process_first(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = processes.start("one", ["sh", "-c", "echo $MOOD; exec sleep 60"], log, env={"MOOD": "calm"}).pid
    assert eventually(says(log, "calm"))
    second = processes.restart("one").pid
    assert not exists(first)
    assert eventually(says(log, "calm\ncalm"))
    assert exists(second)


def test_children_stop_youngest_first_a_tier_at_once(processes: Processes, tmp_path: Path) -> None:
    order = tmp_path / "order"
    script = f"trap 'echo $NAME >> {order}; exit' TERM; echo up; while :; do sleep 0.01; done"
    # Those of one tier end only when all of them were told to.
    both = f"until [ $(grep -c told {order}) = 2 ]; do sleep 0.01; done"
    slow = (
        f"trap 'echo told >> {order}; {both}; echo $NAME >> {order}; exit' TERM; echo up; while :; do sleep 0.01; done"
    )
    for name, tier, text in [("a", "", script), ("b", "boards", slow), ("c", "boards", slow), ("d", "", script)]:
        processes.start(name, ["sh", "-c", text], tmp_path / name, env={"NAME": name}, tier=tier)
        processes.wait_ready(name, says(tmp_path / name, "up"), PATIENCE_S)
    processes.stop(PATIENCE_S)
    said = order.read_text().split()
    assert (said[0], said[1:3], set(said[3:5]), said[5:]) == ("d", ["told"] * 2, {"b", "c"}, ["a"])
    assert all(processes[name].returncode == 0 for name in "abcd")
    processes.stop()


def test_who_ignores_sigterm_is_killed_at_the_deadline(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes.start("one", [sys.executable, "-c", STUBBORN], log)
    processes.wait_ready("one", says(log, "up"), PATIENCE_S)
    began = time.monotonic()
    assert processes.stop_one("one", deadline_s=0.3) == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - began < PATIENCE_S / 2


@pytest.mark.parametrize("escape", ["", "setsid"])
def test_the_children_of_a_child_are_not_left_behind(processes: Processes, tmp_path: Path, escape: str) -> None:
    log = tmp_path / "log"
    processes.start("one", ["sh", "-c", f"{escape} sleep 60 & echo up; wait"], log)
    processes.wait_ready("one", lambda: len(processes.relatives()) == 2, PATIENCE_S)
    everyone = processes.relatives()
    assert set(everyone.values()) == {"one"}
    processes.stop()
    assert not any(exists(pid) for pid in everyone)
    assert processes.relatives() == {}


def test_the_children_of_a_child_that_died_do_not_meet_its_successor(processes: Processes, tmp_path: Path) -> None:
    script = "sleep 60 & wait"
    child = processes.start("one", ["sh", "-c", script], tmp_path / "log", restart=Restart(delay_s=0.0))
    processes.wait_ready("one", lambda: len(processes.relatives()) == 2, PATIENCE_S)
    before = processes.relatives()
    os.kill(child.pid, signal.SIGKILL)
    assert len(deaths_within(processes)) == 1
    assert not any(exists(pid) for pid in before)


def test_an_interrupted_stop_kills_the_rest_at_once(tmp_path: Path) -> None:
    owner = Processes()
    for name in ("one", "two"):
        owner.start(name, [sys.executable, "-c", STUBBORN], tmp_path / name)
        owner.wait_ready(name, says(tmp_path / name, "up"), PATIENCE_S)

    def when_it_waits() -> None:
        if eventually(lambda: owner["two"].settled):
            os.kill(os.getpid(), signal.SIGINT)

    interrupt = threading.Thread(target=when_it_waits)
    interrupt.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        owner.stop(deadline_s=2 * PATIENCE_S)
    interrupt.join()
    assert time.monotonic() - began < PATIENCE_S
    assert owner.relatives() == {}


OWNER = """
import os, sys, time
from pathlib import Path
from convoy_controller.processes import Processes
owner = Processes()
for name in ("one", "two"):
    print(owner.start(name, ["sleep", "60"], Path(sys.argv[1]) / name).pid, flush=True)
time.sleep(60)
"""


def test_children_die_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        children = [int(owner.stdout.readline()) for _ in range(2)]
        assert all(exists(pid) for pid in children)
        owner.kill()
    assert eventually(lambda: not any(exists(pid) for pid in children))


def test_a_child_whose_parent_is_gone_does_not_start() -> None:
    not_its_parent = os.getppid()
    command = [sys.executable, str(Path(tether.__file__)), str(not_its_parent), "echo", "up"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (tether.CANNOT_RUN, "")
    assert "the parent is gone already" in done.stderr


def test_the_tether_says_what_it_cannot_run(tmp_path: Path) -> None:
    file = tmp_path / "not-executable"
    file.touch()
    command = [sys.executable, str(Path(tether.__file__)), str(os.getpid()), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == tether.CANNOT_RUN
    assert f"cannot run {file}: Permission denied" in done.stderr


def test_many_children_start_and_stop_quickly(processes: Processes, tmp_path: Path) -> None:
    for number in range(20):
        processes.start(f"board-{number}", SLEEP, tmp_path / f"{number}.log", tier="boards")
    assert eventually(lambda: len(processes.relatives()) == 20)
    began = time.thread_time()
    processes.stop()
    assert time.thread_time() - began < 5.0, "of a core's own time, whoever else has it meanwhile"
    assert processes.relatives() == {}


@given(st.lists(st.floats(0, 100), max_size=20), st.integers(0, 5), st.floats(1, 50))
def test_restarts_are_bounded(deaths: list[float], at_most: int, within_s: float) -> None:
    now = max(deaths, default=0.0)
    delay = restart_delay(Restart(2.0, at_most, within_s), deaths, now)
    recent = [at for at in deaths if now - at < within_s]
    assert delay == (2.0 if len(recent) <= at_most else None)
    assert restart_delay(None, deaths, now) is None


def test_how_it_ended_names_the_signal() -> None:
    assert how_it_ended(0) == "ended with code 0"
    assert how_it_ended(-15) == "was ended by SIGTERM"
    assert how_it_ended(-99) == "was ended by signal 99"


def test_a_tail_is_bounded_and_survives_what_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"x" * 100_000 + b"\xff\nlast\n")
    assert len(tail_of(file)) <= 8192
    assert tail_of(file).endswith("\ufffd\nlast")
    assert tail_of(tmp_path / "none") == ""
