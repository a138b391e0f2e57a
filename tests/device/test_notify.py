import os
import socket
from pathlib import Path

import pytest
from convoy_device.notify import READY, WATCHDOG, Notifier, extend_start, status


@pytest.mark.parametrize("abstract", [False, True])
def test_lines_reach_the_service_manager_in_one_datagram(tmp_path: Path, abstract: bool) -> None:
    address = f"@convoy-{os.getpid()}-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        assert notifier.is_active
        assert notifier.send(READY, status("well\nand good"))
        assert manager.recv(4096) == b"READY=1\nSTATUS=well and good"
        notifier.close()
        assert not notifier.send(WATCHDOG)


def test_without_a_service_manager_nothing_is_sent() -> None:
    notifier = Notifier({})
    assert not notifier.is_active
    assert not notifier.send(READY)
    assert notifier.watchdog_s is None


def test_a_service_manager_that_is_gone_or_full_costs_nothing(tmp_path: Path) -> None:
    nobody = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert not nobody.send(READY)
    nobody.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "full"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "full")})
        sent = 0
        while notifier.send(WATCHDOG):
            sent += 1
            assert sent < 10_000
        assert sent > 0
        notifier.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_the_one_of_this_process(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environment).watchdog_s == seconds


def test_lines_have_the_form_of_the_protocol() -> None:
    assert extend_start(1.5) == "EXTEND_TIMEOUT_USEC=1500000"
    assert len(status("x" * 10_000)) < 600
