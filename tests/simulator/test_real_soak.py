"""The soak of real processes: short, with every kind of fault that this machine has, and bars that can be broken."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.broker import find_mosquitto
from convoy_controller.processes import Processes
from convoy_simulator.ledger import Ledger
from convoy_simulator.real import line, veth_line
from convoy_simulator.real.__main__ import main
from convoy_simulator.real.disturbance import CALM, CUT, Disturbance
from convoy_simulator.real.fleet import NETWORKS, references
from convoy_simulator.real.soak import numbered_images
from patience import PATIENCE_S

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")


def run(directory: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    code = main([*arguments, "--out", str(directory)])
    return code, json.loads((directory / "report.json").read_text())


@needs_mosquitto
@pytest.mark.long
def test_every_kind_of_fault_costs_nobody_an_answer(tmp_path: Path) -> None:
    code, report = run(tmp_path / "soak", "--requests", "17000", "--seed", "7", "--fault-every", "4")
    print((tmp_path / "soak" / "report.md").read_text())
    account = report["account"]
    assert isinstance(account, dict)
    assert code == 0, report["bars"]
    assert account["answered"] == account["sent"] == 17_000
    assert len(account["generations"]) >= 2  # another network has taken over, at least
    strikes = report["strikes"]
    assert isinstance(strikes, list)
    assert len({strike["sort"] for strike in strikes}) >= 8
    assert all(strike["answered_again_s"] is not None for strike in strikes[:-1])


@needs_mosquitto
@pytest.mark.long
def test_a_bar_that_is_broken_is_told(tmp_path: Path) -> None:
    """As many requests as nobody can make in that time."""
    code, report = run(tmp_path / "soak", "--requests", "500000", "--minutes", "0.05", "--fault-every", "100")
    assert code == 1
    assert report["kept"] is False
    bars = report["bars"]
    assert isinstance(bars, list)
    assert [bar["name"] for bar in bars if not bar["kept"]] == ["requests made"]


def test_every_image_tells_the_networks_and_its_neighbours_apart() -> None:
    images = numbered_images(400)
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
    found = references(images)
    assert list(found) == list(NETWORKS)
    Ledger({"soak": found})  # refuses cases that two networks answer alike
    for rows in found.values():
        assert rows.dtype == np.float32
        assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) > 0.99 * len(rows)


# Lines -------------------------------------------------------------------------------------------------------------

#: Connects to ADDRESS PORT within so many seconds, and prints how many it took; nothing if it could not.
CONNECT = """
import socket, sys, time
began = time.monotonic()
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
    print(time.monotonic() - began)
except OSError:
    pass
"""


@pytest.fixture(params=["what the kernel has", "a relay"])
def one_line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[line.Line]:
    choice = line.choose()
    if request.param == "a relay":
        if choice.obstacle or not Path("/dev/net/tun").exists():
            pytest.skip(f"no relayed line: {choice}")
        choice = line.Choice("")
    elif not choice.has_netem:
        pytest.skip(f"no netem: {veth_line.netem_obstacle()}")
    with Processes() as processes, line.lines(1, choice, tmp_path, 1, processes) as made:
        yield made[0]


def test_a_line_delays_is_cut_and_is_mended(one_line: line.Line) -> None:
    def connect(within_s: float) -> float | None:
        words = [*one_line.prefix, sys.executable, "-c", CONNECT, one_line.near, str(port), str(within_s)]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        return float(said) if said else None

    with socket.socket() as listening:
        listening.bind((one_line.near, 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert connect(PATIENCE_S) is not None
        one_line.disturb(Disturbance(delay_s=0.15))
        slow = connect(PATIENCE_S)
        assert slow is not None
        assert slow >= 0.3  # a handshake goes there and back
        one_line.disturb(CUT)
        assert connect(0.5) is None
        one_line.disturb(CALM)
        assert connect(PATIENCE_S) is not None
