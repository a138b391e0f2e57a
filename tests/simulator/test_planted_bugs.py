"""The simulator can fail: bugs that are planted into the code of production are found, and by what they break."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import planted_bugs
import pytest
from planted_bugs import BUGS, hunt

_BY_NAME = {bug.name: bug for bug in BUGS}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_still_applies_and_leaves_nothing_behind(bug: planted_bugs.Bug) -> None:
    before = planted_bugs.found(bug)
    with planted_bugs.planted(bug):
        assert planted_bugs.found(bug) is not before
    assert planted_bugs.found(bug) is before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("told-before-kept", "and the database knows of"),
        ("window-ignored", "frames of 1-1 are in flight, and 4 may be"),
    ],
)
def test_a_bug_is_found_within_a_few_seeds(name: str, sentence: str, ordered: ProcessPoolExecutor) -> None:
    catch = ordered.submit(hunt, _BY_NAME[name], 5).result()
    assert sentence in catch.problem


@pytest.mark.long
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_is_found_within_two_thousand_seeds(bug: planted_bugs.Bug, ordered: ProcessPoolExecutor) -> None:
    assert ordered.submit(hunt, bug).result().seed is not None
