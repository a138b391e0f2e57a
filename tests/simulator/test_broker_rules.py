"""The rules of an acl_file; that Mosquitto reads them so is for the comparison with it (test_broker_model)."""

from __future__ import annotations

from pathlib import Path

import pytest
from convoy_simulator.broker_rules import AccessRules

SHIPPED = (Path(__file__).parents[2] / "broker_config" / "acl").read_text()


@pytest.mark.parametrize(
    ("user", "topic", "may_read", "may_write"),
    [
        ("b1", "convoy/1/main/boards/b1/state", True, True),
        ("b1", "convoy/1/main/boards/b1/pulse", False, True),
        ("b1", "convoy/1/main/boards/b1/desired", True, False),
        ("b1", "convoy/1/main/boards/b2/state", False, False),
        ("b1", "convoy/1/main/from/b1/to/b2/d/1/0", False, True),
        ("b2", "convoy/1/main/from/b1/to/b2/d/1/0", True, False),
        ("b2", "convoy/1/main/from/b1/to/b1/d/1/0", False, False),
        ("b1", "convoy/1/main/artifacts/x/3", True, False),
        ("", "convoy/1/main/artifacts/x/3", True, False),
        ("", "convoy/1/main/boards/b1/state", False, False),
        ("controller", "convoy/1/main/boards/b1/pulse", True, False),
        ("controller", "convoy/1/main/boards/b1/desired", True, True),
        ("controller", "convoy/1/main/from/b1/to/controller/d/1/0", False, False),
        ("gateway", "convoy/1/main/boards/gateway/state", False, False),
        ("gateway", "convoy/1/main/from/gateway/to/b1/d/1/0", False, True),
        ("b1", "elsewhere", False, False),
        ("a/#", "convoy/1/main/artifacts/x/3", False, False),
    ],
)
def test_the_shipped_rules(user: str, topic: str, may_read: bool, may_write: bool) -> None:
    rules = AccessRules(SHIPPED)
    for _ in range(2):  # the second time from what is remembered
        assert rules.may_read(user, topic) == may_read
        assert rules.may_write(user, topic) == may_write


def test_topics_with_a_dollar_need_a_rule_of_their_own() -> None:
    rules = AccessRules("user ann\ntopic readwrite #\ntopic read $x/+\n")
    assert rules.may_read("ann", "$x/a")
    assert not rules.may_write("ann", "$x/a")
    assert rules.may_write("ann", "x/a")


@pytest.mark.parametrize("rule", ["pattern write own/%c", "pattern write own/x%u", "pattern deny own/%u"])
def test_what_is_not_modelled_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="modelled"):
        AccessRules(rule)
