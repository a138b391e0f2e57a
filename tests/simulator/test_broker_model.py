"""The broker's model against a real Mosquitto: the same random scripts on both, and what each connection is sent.

A seed that fails prints its shrunken script; `random_script(seed)` is the whole of it.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from broker_faults import FAULTS, planted
from broker_rig import Difference, ModelSide, UnsettledError, compare
from broker_scripts import Acknowledge, Cut, Join, Kill, Resume, Say, Script, Stall, random_script, shrink
from convoy_simulator.broker import KEEPALIVE_LOOK_S
from convoy_simulator.broker_limits import MOSQUITTO as AS_IT_COMES
from convoy_simulator.mqtt_packets import Connect, Packet, Puback, Publish, Subscribe, publish_size
from mosquitto_process import MOSQUITTO
from mosquitto_side import WITNESS, Client, RealSide, filling

#: The version whose conduct the model has.
MODELLED = "2.0.11"
SCRIPTS, CHUNK = 60, 12
LONG_SCRIPTS, LONG_CHUNK = 3000, 100
#: Of a hundred scripts, those that may say nothing because a full socket took more.
UNSETTLED_PERCENT = 25


def _version() -> str:
    if MOSQUITTO is None:
        return ""
    return subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout.partition("\n")[0]


needs_mosquitto = pytest.mark.skipif(
    MODELLED not in _version(), reason=f"the model is of Mosquitto {MODELLED}; here is {_version() or 'none'}"
)


def _check(seeds: range, directory: Path) -> None:
    unsettled = 0
    for seed in seeds:
        script = random_script(seed)
        try:
            difference = compare(script, directory)
        except UnsettledError:
            unsettled += 1
            continue
        assert difference is None, f"seed {seed}: {_told(script, directory)}"
    assert unsettled * 100 <= UNSETTLED_PERCENT * len(seeds)


def _differs(script: Script, directory: Path) -> Difference | None:
    try:
        return compare(script, directory)
    except UnsettledError:
        return None


def _told(script: Script, directory: Path) -> str:
    """A short script of that failure, as a person wants to read it."""
    short = shrink(script, lambda shorter: _differs(shorter, directory) is not None)
    steps = "\n".join(f"  {step!r:.400}" for step in short.steps)
    difference = _differs(short, directory)
    return f"{short.limits}, persistent: {short.is_persistent}\n{steps}\n{difference!r:.3000}"


@needs_mosquitto
@pytest.mark.parametrize("start", range(0, SCRIPTS, CHUNK))
def test_the_model_sends_what_mosquitto_sends(start: int, tmp_path: Path) -> None:
    _check(range(start, start + CHUNK), tmp_path)


@pytest.mark.long
@needs_mosquitto
@pytest.mark.parametrize("start", range(1_000, 1_000 + LONG_SCRIPTS, LONG_CHUNK))
def test_the_model_sends_what_mosquitto_sends_in_thousands_of_scripts(start: int, tmp_path: Path) -> None:
    _check(range(start, start + LONG_CHUNK), tmp_path)


@needs_mosquitto
def test_a_wildcard_over_many_retained_messages_gets_1020_of_them(tmp_path: Path) -> None:
    """With Mosquitto's own limits, and QoS 0 gets them all."""
    kept = tuple(Publish(f"kept/{index}", b"x", 1, True, index + 1) for index in range(1100))
    script = Script(
        AS_IT_COMES,
        False,
        (
            Join(0, Connect("ann", True, 0)),
            Say(0, kept),
            Say(0, (Subscribe(1, (("kept/+", 1),)),)),
            Acknowledge(0, (0,) * 20),
            Acknowledge(0, (0,) * 400),
            Acknowledge(0, (0,) * 600),
            Join(1, Connect("bob", True, 0)),
            Say(1, (Subscribe(1, (("kept/#", 0),)),)),
        ),
    )
    assert compare(script, tmp_path) is None
    model = _run_model(script)
    assert sum(isinstance(packet, Publish) for packet in model[0]) == 1020
    assert sum(isinstance(packet, Publish) for packet in model[1]) == 1100


@pytest.mark.long
@needs_mosquitto
def test_silence_is_noticed_when_the_model_notices_it(tmp_path: Path) -> None:
    """Whole seconds, 6 s apart; a second more for a broker that started between two, and for a busy machine."""
    keepalives = (0, 1, 2, 5, 9)
    real = RealSide(tmp_path, Script(AS_IT_COMES, False, ()))
    clients = {keepalive_s: Client(real.port) for keepalive_s in keepalives}
    try:
        start, ended_s = time.monotonic(), dict[int, float]()
        for keepalive_s, client in clients.items():
            client.say((Connect(f"k{keepalive_s}", True, keepalive_s),))
        while time.monotonic() - start < 25:
            for keepalive_s, client in clients.items():
                client.drain()
                if client.is_closed:
                    ended_s.setdefault(keepalive_s, time.monotonic() - start)
    finally:
        for client in clients.values():
            client.close()
        real.stop()
    assert set(ended_s) == set(keepalives) - {0}
    for keepalive_s, ended in ended_s.items():
        assert keepalive_s * 3 // 2 < ended < keepalive_s * 3 // 2 + 1 + KEEPALIVE_LOOK_S + 1
    looks = sorted(ended_s.values())
    assert all(abs((later - looks[0] + 1) % KEEPALIVE_LOOK_S - 1) < 1 for later in looks)


# Faults --------------------------------------------------------------------------------------------------------------

#: Scripts among which one must show a fault in the model alone.
SEARCHED = 400


def _run_model(script: Script) -> list[list[Packet]]:
    """What each slot is sent; a socket is full after seven and a half messages."""
    side = ModelSide(script.limits)
    heard: list[list[Packet]] = [[] for _ in range(6)]
    owed: list[list[int]] = [[] for _ in range(6)]
    side.join(WITNESS, Connect("witness", True, 0, None, "cat"))
    for step in script.steps:
        match step:
            case Join(slot, connect):
                side.join(slot, connect)
                owed[slot] = []
            case Say(slot, packets):
                side.say(slot, packets)
            case Acknowledge(slot, places):
                mids = [
                    owed[slot].pop(place % len(owed[slot])) if owed[slot] and place >= 0 else 60_000 for place in places
                ]
                side.say(slot, tuple(map(Puback, mids)))
            case Cut(slot):
                side.cut(slot)
            case Stall(slot):
                side.say(slot, (Subscribe(65_000, ((f"$fill/{slot}", 0),)),))
                side.stall(slot, 8, 7 * publish_size(*filling(slot, 1)) + 9)
            case Resume(slot):
                side.resume(slot)
            case Kill(keep):
                side.kill(keep)
        for slot in range(6):
            came = side.heard(slot)
            heard[slot] += came.packets
            owed[slot] += [packet.mid for packet in came.packets if isinstance(packet, Publish) and packet.qos]
    return heard


@needs_mosquitto
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    """In one of the first scripts in which the model with the fault does not do as the model without."""
    shown = 0
    for seed in range(SEARCHED):
        script = random_script(seed)
        right = _run_model(script)
        with planted(fault):
            if _run_model(script) == right:
                continue
            shown += 1
            try:
                if compare(script, tmp_path) is not None:
                    return
            except UnsettledError:
                continue
        assert shown < 4, "several scripts show the fault, and the comparison with Mosquitto finds it in none"
    raise AssertionError(f"{shown} scripts of {SEARCHED} show the fault")
