"""`convoy-device enroll` and `convoy-device renew`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from convoy_schema.claims import parse_claim
from convoy_schema.credentials import TimeFloor
from convoy_schema.errors import ConvoyError

from convoy_device import config as configs
from convoy_device.enrolling import Enrolled, enroll_into, renew, settings
from convoy_device.errors import ConfigError


def run(options: argparse.Namespace) -> int:
    """Run either; raises `ConvoyError`."""
    return _enroll(options) if options.command == "enroll" else _renew(options)


def _enroll(options: argparse.Namespace) -> int:
    claim = parse_claim(sys.stdin.readline() if options.claim == "-" else options.claim)
    folder: Path = options.directory
    file = folder / "board.toml"
    if file.exists() and configs.load(file).name != claim.name:
        raise ConfigError(f"{file} is another board's: enrol {claim.name} with --directory of its own", file=str(file))
    enrolled = enroll_into(folder, claim, TimeFloor(folder / "state" / "time-floor"))
    try:
        if not file.exists():
            file.write_text(_configuration(claim.name, options.fabric, enrolled), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}", file=str(folder)) from error
    configs.load(file)
    print(f"board {claim.name} is enrolled with site {enrolled.site}; run it with: convoy-device run --config {file}")
    return 0


def _configuration(name: str, fabric: str, enrolled: Enrolled) -> str:
    values = {**settings(name, enrolled), "state_dir": "state", "fabric": fabric}
    # JSON's strings are TOML's.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
    return "".join(["# Written by `convoy-device enroll`; see board.example.toml for what else may be set.\n", *lines])


def _renew(options: argparse.Namespace) -> int:
    config = configs.load(options.config)
    credentials = configs.credentials(config)
    if credentials is None or not config.enrollment:
        raise ConfigError(f"{options.config}: key 'enrollment' says where to renew, and is not set", key="enrollment")
    try:
        done = renew(config.name, credentials, config.enrollment, always=not options.if_due)
    except OSError as error:
        raise ConvoyError(f"not renewed: {error}") from error
    print(f"the certificate of {config.name} was renewed" if done else "it is not due yet")
    return 0
