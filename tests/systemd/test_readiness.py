"""What systemd is told of a service that comes up, loses its broker, stands still, and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from convoy_schema.messages.boards import Presence
from machine import UNIT, Machine, drop_in
from service_fleet import ASSIGNMENT, BOARD, MODEL, play, service_fleet

#: Seconds for a start: more than a busy machine needs to bring the program up.
START_S = 10.0


def test_it_is_ready_only_when_it_is_connected(installed: Machine, start_broker: Callable[[], Any]) -> None:
    broker = start_broker()

    async def scenario() -> None:
        # A start that took longer than the limit would be ended: here it gets on, and is given more.
        drop_in(installed, "95-test", [f"TimeoutStartSec={START_S:.0f}s"])
        async with service_fleet(installed, broker.url) as board:
            broker.stop()
            try:
                await board.start()
                waits = "no broker, trying again; nothing to run"
                await board.inside(
                    installed.wait, lambda: installed.show("StatusText")["StatusText"] == waits, "it waits"
                )
                await asyncio.sleep(START_S + 2)
                shown = installed.show("ActiveState", "StatusText", "NRestarts")
                assert shown == {
                    "ActiveState": "activating",
                    "StatusText": waits,
                    "NRestarts": "0",
                }
            finally:
                broker.start()
            await board.until_active()
            assert installed.show("StatusText")["StatusText"].startswith("connected")
            pid = installed.main_pid
            broker.stop()
            await board.inside(
                installed.wait, lambda: "no broker" in installed.show("StatusText")["StatusText"], "the loss is said"
            )
            assert installed.is_active(), "a lost broker is no reason to be started again"
            broker.start()
            await board.inside(
                installed.wait, lambda: "connected" in installed.show("StatusText")["StatusText"], "the return is said"
            )
            assert installed.main_pid == pid

    try:
        play(scenario)
    finally:
        installed.path(f"/etc/systemd/system/{UNIT}.d/95-test.conf").unlink()
        installed.run("systemctl", "daemon-reload")


def test_one_that_stands_still_is_ended_by_the_watchdog_and_serves_again(installed: Machine, broker: Any) -> None:
    async def scenario() -> None:
        async with service_fleet(installed, broker.url) as board:
            await board.start()
            board.place()
            session = await board.until_serving()
            await board.until_active()
            cursor, pid = installed.cursor(), installed.main_pid
            limit_s = int(installed.show("WatchdogUSec")["WatchdogUSec"].removesuffix("s"))
            os.kill(installed.outside(pid), signal.SIGSTOP)
            began = time.monotonic()
            await board.inside(
                installed.wait, lambda: installed.main_pid not in (0, pid), "another process", 3 * limit_s
            )
            assert limit_s / 2 < time.monotonic() - began < 2 * limit_s
            said = installed.said(cursor)
            assert any("Watchdog timeout" in line for line in said), said
            await board.until_serving(session)
            board.check_whole()
            assert installed.restarts() == 1

    play(scenario)


def test_a_stop_drains_and_says_goodbye_within_its_limit(installed: Machine, broker: Any) -> None:
    async def scenario() -> None:
        # Paced, so that frames wait when the stop comes.
        async with service_fleet(installed, broker.url, pace=5.0) as board:
            await board.start()
            board.place()
            await board.until_serving()
            inputs = {MODEL.topology.input: MODEL.values[MODEL.topology.input]}
            known = set(board.fleet.results)
            for counter in range(900_001, 900_011):
                board.fleet.feed(ASSIGNMENT, BOARD, inputs, counter)
            await board.until(lambda: set(board.fleet.results) - known, "a first answer")
            began = time.monotonic()
            await board.inside(installed.run, "systemctl", "stop", UNIT)
            took = time.monotonic() - began
            limit_s = int(installed.show("TimeoutStopUSec")["TimeoutStopUSec"].removesuffix("s"))
            assert took < limit_s / 2
            await board.until(lambda: board.fleet.states[BOARD][-1].presence is Presence.OFFLINE, "a goodbye")
            assert board.fleet.states[BOARD][-1].reason == "SIGTERM"
            assert len(set(board.fleet.results) - known) == 10, "what had arrived has left"
            shown = installed.show("Result", "ExecMainStatus", "ExecMainCode")
            assert shown == {"Result": "success", "ExecMainStatus": "0", "ExecMainCode": "1"}

    play(scenario)


def test_the_journal_finds_what_belongs_to_a_generation(installed: Machine, broker: Any) -> None:
    async def scenario() -> None:
        async with service_fleet(installed, broker.url) as board:
            cursor = installed.cursor()
            await board.start()
            board.place()
            await board.until_serving()
            entries = installed.journal(cursor, CONVOY_DEPLOYMENT="demo", CONVOY_GENERATION="1-1")
            steps = [entry["CONVOY_STEP"] for entry in entries]
            assert steps[-1] == "ready"
            assert {"fetching", "verifying", "configuring", "loading", "testing"} <= set(steps)
            assert {entry["CONVOY_BOARD"] for entry in entries} == {BOARD}
            assert {entry["_SYSTEMD_UNIT"] for entry in entries} == {UNIT}
            assert {entry["PRIORITY"] for entry in entries} == {"6"}

    play(scenario)


def test_a_configuration_that_cannot_be_used_is_not_tried_again(installed: Machine, broker: Any) -> None:
    async def scenario() -> None:
        cursor = installed.cursor()
        async with service_fleet(installed, broker.url, queue_frames=0) as board:
            await board.start()
            await board.inside(
                installed.wait, lambda: installed.show("ActiveState")["ActiveState"] == "failed", "it is given up"
            )
            assert installed.show("ExecMainStatus", "NRestarts") == {"ExecMainStatus": "2", "NRestarts": "0"}
            said = installed.said(cursor)
            assert any("queue_frames" in line for line in said), said

    play(scenario)
