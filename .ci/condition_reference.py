"""docs/conditions.md, made from the explanations: this writes it, and with `--check` compares.

For each condition of a board an example is explained as `convoy why` would. Two or more stand
where people need to tell them apart. `make check` runs the comparison, and that no condition is missing.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from convoy_controller.database.explanations import explain
from convoy_controller.database.records import BoardPresence, GenerationState, Symptom, SymptomKind
from convoy_controller.database.views import Assigned, BoardFacts, Condition
from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "conditions.md"
SINCE = datetime(2030, 1, 31, 12, 0, tzinfo=timezone.utc)
LIVE = Assigned(
    deployment="lenet5",
    generation=Generation(1, 7),
    generation_state=GenerationState.SERVING,
    stage=1,
    stages=3,
    layers=("conv2", "pool2"),
    slots={},
    phase=Phase.READY,
    step="",
    done_bytes=0,
    total_bytes=0,
    code="",
    message="",
    retryable=False,
    since=SINCE,
)
BOARD = BoardFacts(
    board="board-2",
    presence=BoardPresence.ONLINE,
    presence_since=SINCE,
    presence_reason="",
    first_seen=SINCE,
    last_seen=SINCE,
    session=4711,
    session_started=SINCE,
    session_ended=None,
    session_reason="",
    part="xc7z020clg400-1",
    fabric="pynq",
    software="convoy-fleet 0.1",
    is_described=True,
    shell="partitions",
    blocked="",
    degraded=(),
    desired=(1, 9),
    desired_at=SINCE,
    reported=(1, 9),
    reported_at=SINCE,
    assigned=LIVE,
)
HEAD = """\
# What a board's condition means

Every board has one condition, which `convoy boards` lists, and one sentence, which `convoy why BOARD`, the dashboard
and the [REST API](api.md) give: what is wrong, since when, why, and what to do. The worst is told first. This page is
made from the code that says so (`make reference`); the sentences are examples.

Sentences do not come and go with every sample. What a board failed at is told until it is ready, whatever it tries
meanwhile. A board comes and goes after three returns, each within five minutes of the one before, and is calm again
after five minutes. A fetch is stuck after 15 seconds without a byte. A link is slow, or a board overloaded, when that
has been so for 3 seconds, and is so no more after 5 seconds far below the mark.
"""


def assigned(phase: Phase, **fields: Any) -> Assigned:
    """What the example holds, in that phase."""
    return dataclasses.replace(LIVE, phase=phase, generation_state=GenerationState.STAGED, **fields)


def failed(code: str, message: str) -> dict[str, Any]:
    """It failed at what it was to hold."""
    return {"assigned": assigned(Phase.FAILED, code=code, message=message, failing_since=SINCE)}


def symptom(kind: SymptomKind, **figures: Any) -> tuple[Symptom, ...]:
    """What was seen by watching it."""
    return (Symptom(kind, SINCE, figures),)


#: Condition, what it means, and facts that bring it about.
EXAMPLES: tuple[tuple[Condition, str, dict[str, Any]], ...] = (
    (
        Condition.NEVER_SEEN,
        "A board of this name is planned for or asked about, and has never spoken.",
        {"first_seen": None, "assigned": None},
    ),
    (
        Condition.REVOKED,
        "Its owner revoked its certificate: it is shut out of the fleet for good.",
        {"revoked_at": SINCE, "revoked_reason": "stolen", "presence": BoardPresence.OFFLINE, "assigned": None},
    ),
    (
        Condition.REVOKED,
        "The board is sound; the bundle that it ran is below the floor, so that it stopped.",
        failed("below-floor", "bundle 3 of lenet5 (version 1) was revoked: serial 4 is the lowest that may run"),
    ),
    (
        Condition.VERSION_OUT_OF_RANGE,
        "Board and controller refuse each other's messages, since neither speaks the other's protocol.",
        {"symptoms": symptom(SymptomKind.UNREADABLE, current=3, oldest=2), "presence": BoardPresence.OFFLINE},
    ),
    (
        Condition.FLAPPING,
        "Its daemon dies and is started again, or its connection breaks, several times within minutes.",
        {"symptoms": symptom(SymptomKind.FLAPPING, returns=5, sessions=5), "session_reason": "the connection was lost"},
    ),
    (
        Condition.OFFLINE,
        "It said goodbye, its connection broke, or three of its pulses were missed.",
        {"presence": BoardPresence.OFFLINE, "session_reason": "silent for 3.6 s, 3 pulses missed"},
    ),
    (
        Condition.PRESENCE_UNKNOWN,
        "The controller has just connected, or lost the broker, and has not heard the board since.",
        {"presence": BoardPresence.UNKNOWN},
    ),
    (
        Condition.UNDESCRIBED,
        "It is there, and nothing is known of its part, shells and memory.",
        {"is_described": False, "assigned": None},
    ),
    (
        Condition.WRONG_SHELL,
        "The model has no shell or module for this board, or the board has no such shell.",
        failed(
            "shell-mismatch",
            "the board holds shell '', the stage needs 'layers', and the bundle has no image of it for xc7z020clg400-1",
        ),
    ),
    (
        Condition.STORE_FULL,
        "What it must hold does not fit its quota or its disk, and nothing is left that may go.",
        failed(
            "store-full",
            "the store may hold 1048576 bytes and holds 900000 that are in use; 1200000 more are needed: raise "
            "store_quota_mb or remove a deployment",
        ),
    ),
    (
        Condition.FAILED,
        "Anything else that it could not do; the code names it, and the action goes by the code.",
        failed("self-test", "tensor 't4' differs from its golden values in 3 of 1200 elements"),
    ),
    (
        Condition.DEGRADED,
        "A partition of its fabric failed to configure, and is cut off until a load of it goes well.",
        {"degraded": ("west",), "degraded_since": SINCE},
    ),
    (
        Condition.BLOCKED,
        "It says itself what keeps it from going on.",
        {"blocked": "waits: shell 'partitions' is in use by lenet5 1-7", "blocked_since": SINCE},
    ),
    (
        Condition.STUCK,
        "It is there and nothing moves: no byte comes, or a step of its work does not end.",
        {
            "assigned": assigned(Phase.FETCHING),
            "symptoms": symptom(
                SymptomKind.STALLED,
                phase="fetching",
                step="2 artifacts to come",
                done_bytes=65536,
                total_bytes=131072,
                why="the controller hears no request of it: its bulk connection, or the controller's, may be broken",
            ),
        },
    ),
    (Condition.STALE, "It was told something new and has not confirmed it.", {"reported": (1, 8)}),
    (
        Condition.SLOW_LINK,
        "It works, and its frames take far longer to the broker than those of the boards it works with.",
        {"symptoms": symptom(SymptomKind.SLOW_LINK, of="uplink", us=180_000, peers_us=900)},
    ),
    (
        Condition.OVERLOADED,
        "Its deployment is asked for more than it can do, and this board is the slowest of it.",
        {
            "symptoms": symptom(
                SymptomKind.OVERLOADED, deployment="lenet5", waiting_rows=1200, queued=61, room=64, refused=0
            )
        },
    ),
    (Condition.RESTARTING, "In order: its owner asked for a restart.", {"assigned": None, "restart_at": SINCE}),
    (Condition.DRAINED, "In order: its owner took it out of service.", {"assigned": None, "drained_at": SINCE}),
    (
        Condition.PREPARING,
        "In order: it is on its way to what it should hold.",
        {"assigned": assigned(Phase.FETCHING, done_bytes=65536, total_bytes=131072)},
    ),
    (Condition.UNASSIGNED, "In order: it is free.", {"assigned": None}),
    (Condition.READY, "In order: it has all it should.", {}),
)


def document() -> str:
    """The whole page."""
    missing = set(Condition) - {condition for condition, _, _ in EXAMPLES}
    assert not missing, f"no example of {missing}"
    rows = ["| condition | meaning | sentence | what to do |", "|---|---|---|---|"]
    return "\n".join([HEAD, *rows, *_rows(), ""])


def _rows() -> Iterator[str]:
    order = list(Condition)
    for condition, meaning, fields in sorted(EXAMPLES, key=lambda example: order.index(example[0])):
        answer = explain(dataclasses.replace(BOARD, **fields))
        assert answer.condition is condition, f"the example of {condition} is {answer.condition}: {answer.sentence}"
        cells = (f"`{condition.value}`", meaning, answer.sentence, answer.action)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if DOCUMENT.read_text(encoding="utf-8") != document():
            sys.exit(f"{DOCUMENT.name} is not what the code says: run `make reference`")
    else:
        DOCUMENT.write_text(document(), encoding="utf-8")
