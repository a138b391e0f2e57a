"""The bench of the bitstream check runs without a broker, and its bar is met on any machine."""

from __future__ import annotations

import pytest
from convoy_controller.bench import bitstream
from convoy_controller.bench.registry import BENCHES


def test_the_check_costs_no_more_than_ten_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitstream, "ROUNDS", 5)
    result = BENCHES["bitstream"].run("auto")
    (figure,) = result.figures
    assert (figure.unit, figure.peer_name, figure.bar) == ("ms", "SHA-256 of it", 10.0)
    assert figure.met, figure.plain()
    assert 730_000 < result.notes["bytes"] < 740_000
    assert result.notes["with_crc_ms"] > figure.figure
