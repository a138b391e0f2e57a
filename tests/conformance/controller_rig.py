"""Trials of controllers side by side on one real broker: each a process with a home and a deployment of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import convoy_bitstreams
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.conformance.controller_trial import ControllerTrial, try_controller
from convoy_controller.conformance.verdicts import Report
from convoy_controller.database.engine import open_database
from convoy_controller.database.intents import request_deployment
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent
from own_ports import own_port
from system_fleet import CLASSES, SPEC, small_network

BROKEN = Path(__file__).with_name("broken_controllers.py")


def prepare(folder: Path) -> Home:
    """A home with a model, and somebody who wants it on two boards."""
    home = Home.locate(folder, f"sqlite:///{folder / 'convoy.db'}")
    folder.mkdir(parents=True)
    database = open_database(home.database_url)
    try:
        images, key = convoy_bitstreams.catalogue(), signing_key(home.keys)
        Catalogue(database, BlobStore(home.blobs)).publish_model(
            small_network(), "small", "1", SPEC, CLASSES, images, key
        )
        intent = Intent("small", "small", "1", Method.ALLOCATE, 2, cut=Cut.PIPELINE, batch=8)
        request_deployment(database, intent)
    finally:
        database.close()
    return home


def run_controller_trials(
    url: str, directory: Path, faults: Mapping[str, str], rules: Sequence[str] = (), at_once: int = 4
) -> dict[str, Report]:
    """Try a controller for each name, with that fault planted ('' for none), by these rules (none for all)."""

    async def all_of_them() -> list[Report]:
        turns = asyncio.Semaphore(at_once)

        async def in_turn(name: str, fault: str) -> Report:
            async with turns:
                return await _try(url, directory / name, name, fault, rules)

        return await asyncio.gather(*(in_turn(name, fault) for name, fault in faults.items()))

    return dict(zip(faults, asyncio.run(all_of_them()), strict=True))


async def _try(url: str, folder: Path, name: str, fault: str, rules: Sequence[str]) -> Report:
    home = prepare(folder)
    tap = ("127.0.0.1", own_port())
    trial = ControllerTrial(url, name, rules=rules, tap=tap, trusted=home.trusted_key)
    program: Sequence[str] = ("-m", "convoy_controller.cli") if not fault else (str(BROKEN), fault)
    options = ("controller", "--broker", f"mqtt://{tap[0]}:{tap[1]}", "--site", name, "--home", str(folder))
    with (folder / "controller.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            *options,
            stdout=log,
            stderr=log,
            env={**os.environ, "CONVOY_DATABASE": home.database_url, "PYTHONUNBUFFERED": "1"},
        )
    try:
        return await try_controller(trial, lambda text: None)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except asyncio.TimeoutError:
            process.kill()
