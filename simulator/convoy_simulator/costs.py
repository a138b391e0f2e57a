"""Figures of calibration.toml: what was measured on a real machine, and how far predictions were off there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from convoy_schema.toml import parse_toml


@dataclass(frozen=True)
class Costs:
    """Seconds of one core: for a packet, a message, a turn of the controller's loop and each board in it.

    `slice_s` is for how long the kernel lets each of many processes compute that share a machine, and `cold_s` what a
    process loses that wakes up after others have had its caches.
    """

    broker_packet_s: float
    board_message_s: float
    controller_message_s: float
    controller_turn_s: float
    controller_turn_board_s: float
    gateway_message_s: float
    slice_s: float
    cold_s: float


@dataclass(frozen=True)
class Records:
    """Seconds of one core in the database's thread: for a transaction, and for each record of a kind.

    `placement` is for a board of a generation that is saved first, `placement_again` when it is saved again.
    """

    transaction: float
    presence: float
    capability: float
    desired: float
    reported: float
    pulse: float
    gateway: float
    symptom: float
    event: float
    placement: float
    placement_again: float


@dataclass(frozen=True)
class Memory:
    """Bytes: of the process itself, and for each client or board."""

    broker_bytes: int
    broker_client_bytes: int
    controller_bytes: int
    controller_board_bytes: int


@dataclass(frozen=True)
class Comparison:
    """A real run beside its prediction: seconds until all were ready, and bytes through the broker."""

    boards: int
    processes: int
    ready_s: float
    predicted_ready_s: float
    bytes: int
    predicted_bytes: int


@dataclass(frozen=True)
class Calibration:
    """The whole file; `machine` says where it was measured, '' if nowhere."""

    costs: Costs
    records: Records
    memory: Memory
    comparisons: tuple[Comparison, ...]
    machine: str


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    """As it comes with the package."""
    text = (resources.files(__package__) / "calibration.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = parse_toml(text)
    compared = tuple(Comparison(**each) for each in table.get("comparison", ()))
    return Calibration(
        Costs(**table["costs"]),
        Records(**table["records"]),
        Memory(**table["memory"]),
        compared,
        str(table.get("machine", "")),
    )
