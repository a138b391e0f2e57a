"""Every command that a document tells its readers to run is run, in the page's order, and does what the page says.

What cannot be run here says so in the page, with its reason, and is listed as skipped. The pages that take longest are
`long`; the others are to take less than a minute of a quiet machine.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from document_blocks import Command, Part, Step, steps
from document_session import ROOT, Reader
from test_packaging import check_documents

DOCUMENTS = [file for file in check_documents.documents(ROOT) if file.name != "CHANGELOG.md"]
STEPS = {file.relative_to(ROOT).as_posix(): steps(file) for file in DOCUMENTS}
#: Pages whose commands take more than a few seconds.
LONG = {
    "README.md",
    "docs/api.md",
    "docs/backup-postgresql.md",
    "docs/backup.md",
    "docs/bring-your-own-board.md",
    "docs/brokers.md",
    "docs/cli.md",
    "docs/bring-your-own-layer.md",
    "docs/dashboard.md",
    "docs/metrics.md",
    "docs/quick-start.md",
    "docs/security.md",
    "docs/serving.md",
    "docs/signing.md",
    "docs/simulation.md",
    "docs/sizing.md",
}
#: How many blocks of a page cannot be run here. Whoever adds one sees it here, too.
NOT_RUN = {
    "docs/bring-your-own-board.md": 2,
    "docs/operations-board.md": 3,
    "docs/quick-start.md": 2,
    "docs/simulation.md": 3,
    "docs/upgrade.md": 2,
    "hls/README.md": 1,
    "hls/shells/README.md": 1,
}

#: What a page supposes: the fleet of the quick start, which serves lenet5 on three boards.
FLEET = (
    ("convoy up", "boards join with: ...", True),
    ("convoy model import lenet5 --calibration digits", None, False),
    ("convoy key export-root --out trusted.pem", None, False),
    (
        "convoy-device run --config device/board.example.toml --name board --site local --state-dir $PWD/state"
        " --trusted-key $PWD/trusted.pem --count 3",
        "... board-3: DMA stands still; ...",
        True,
    ),
    ("convoy deploy lenet5 --boards 3 --wait 120", None, False),
)
#: Pages that suppose it, the boards first and `convoy up` last, so that Ctrl-C there is Ctrl-C to that.
WITH_FLEET = {"README.md", "docs/backup.md", "docs/api.md", "docs/serving.md"}
#: What a page's Python supposes.
_IMAGES = "import asyncio\nimport numpy as np\nimages = np.zeros((2, 1, 28, 28), np.uint8)\n"
PRELUDES = {"README.md": _IMAGES, "docs/serving.md": _IMAGES}

NOT_RUN_STEPS = [step for found in STEPS.values() for step in found if step.part is Part.NOT_RUN]


def pages() -> list[Any]:
    """Each page that has something to run; those that take long are marked so."""
    running = [name for name, found in STEPS.items() if any(step.commands for step in found)]
    return [pytest.param(name, id=name, marks=[pytest.mark.long] if name in LONG else []) for name in running]


@pytest.mark.parametrize("name", pages())
def test_a_page_does_what_it_says(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    environment = {}
    if name == "docs/backup-postgresql.md":
        environment["CONVOY_DATABASE"] = request.getfixturevalue("postgresql").new_socket_database()
    with Reader(tmp_path / "reader", environment, PRELUDES.get(name, "")) as reader:
        if name in WITH_FLEET:
            for text, output, is_left_running in FLEET:
                part = Part.BACKGROUND if is_left_running else Part.RUN
                reader.follow(Step(ROOT / name, 0, part, "sh", (Command(text, output),)))
            reader.bring_forward("convoy up")
        for step in STEPS[name]:
            reader.follow(step)


@pytest.mark.parametrize("step", NOT_RUN_STEPS, ids=lambda step: f"{step.page.relative_to(ROOT)}:{step.line}")
def test_what_is_not_run_says_why(step: Step) -> None:
    assert len(step.reason) > 10
    pytest.skip(f"{step.page.relative_to(ROOT)}:{step.line}: {step.reason}")


def test_nothing_more_is_left_out_than_is_known() -> None:
    left_out = {name: sum(step.part is Part.NOT_RUN for step in found) for name, found in STEPS.items()}
    assert {name: count for name, count in left_out.items() if count} == NOT_RUN


def test_no_command_hides_in_an_indented_block() -> None:
    hidden = []
    for file in DOCUMENTS:
        prose = re.sub(r"^```.*?^```$", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
        hidden += [
            f"{file.name}: {line}" for line in prose.splitlines() if re.match(r" {4,}\$? ?(convoy|make|curl)", line)
        ]
    assert hidden == []
