from dataclasses import replace
from pathlib import Path

from convoy_device.condition import FILE, Condition, Held, read, write

BOARD = Condition("board-1", "0.1.0", True, True, 1, 7, (Held("lenet", "1-3", "failed", "self-test"),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, (BOARD, replace(BOARD, board="board-2", held=())))
    assert read(tmp_path) == (BOARD, replace(BOARD, board="board-2", held=()))


def test_what_is_not_there_or_not_ours_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == ()
    for text in ("", "{", "7", "[1]", '[{"board": "x"}]', '[{"held": [], "later": 1}]'):
        (tmp_path / FILE).write_text(text)
        assert read(tmp_path) == ()


def test_people_read_one_line() -> None:
    assert BOARD.sentence() == "connected; lenet 1-3 is failed (self-test)"
    assert replace(BOARD, is_connected=False, held=()).sentence() == "no broker, trying again; nothing to run"
    assert replace(BOARD, is_awake=False).sentence() == "looking at what the fabric and the disk hold"
    assert replace(BOARD, stuck="the fabric").sentence() == "stuck: the fabric"
    assert not replace(BOARD, is_awake=False).is_ready
