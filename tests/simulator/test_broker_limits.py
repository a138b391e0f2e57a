"""Limits are those of the shipped configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
from convoy_simulator.broker_limits import MOSQUITTO, Limits, limits_of

_CONFIGURATIONS = Path(__file__).parents[2] / "broker_config"


def test_the_shipped_configurations() -> None:
    development = limits_of((_CONFIGURATIONS / "mosquitto-development.conf").read_text())
    assert development == Limits(20, 10_000, 67_108_864, 1_000_000)
    guarded = limits_of((_CONFIGURATIONS / "mosquitto-tls.conf").read_text(), "pattern read a")
    assert guarded == development._replace(
        max_connections=6000, persistent_client_expiration_s=3600, rules="pattern read a"
    )


def test_nothing_said_is_mosquitto_as_it_comes() -> None:
    assert limits_of("# nothing\nlistener 1883\n") == MOSQUITTO


@pytest.mark.parametrize("line", ["queue_qos0_messages true", "max_inflight_bytes 9", "message_size_limit 9"])
def test_what_is_not_modelled_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not modelled"):
        limits_of(line)
