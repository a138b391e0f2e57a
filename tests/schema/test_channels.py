"""The table of channels is what topics, messages, the access rules and the documents say."""

from __future__ import annotations

import re
from pathlib import Path

from convoy_schema import topics as contract_topics
from convoy_schema.channels import CHANNELS, Channel, Party, channel, channel_of
from convoy_schema.messages import boards, desired, gateways
from convoy_schema.topics import BOARD_LEAVES, GATEWAY_LEAVES, Topics
from topic_texts import build

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = {"digest": "a" * 64, "block": "7", "generation": "1-2", "stage": "3", "site": "main"}


def address(found: Channel) -> str:
    return re.sub(r"{(\w+)}", lambda name: SAMPLES.get(name[1], name[1]), found.address)


def test_every_topic_of_the_contract_is_a_channel_and_no_other() -> None:
    topics = Topics("main")
    parsed = [topics.parse(address(each)) for each in CHANNELS]
    assert [build(topics, each) for each in parsed] == [address(each) for each in CHANNELS]
    assert [channel_of(each) for each in parsed] == list(CHANNELS)
    assert {type(each) for each in parsed} == set(contract_topics.Topic.__args__)
    leaves = [(type(each), each.leaf) for each in parsed if hasattr(each, "leaf")]
    boards_leaves = [(contract_topics.BoardTopic, leaf) for leaf in BOARD_LEAVES]
    gateway_leaves = [(contract_topics.GatewayTopic, leaf) for leaf in GATEWAY_LEAVES]
    assert sorted(leaves, key=str) == sorted([*boards_leaves, *gateway_leaves], key=str)


def test_every_message_has_one_channel() -> None:
    modules = (boards, desired, gateways)
    found = {
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and hasattr(each, "MAX_BYTES")
    }
    carried = [each.message for each in CHANNELS if each.message is not None]
    assert found <= set(carried)
    assert len(carried) == len(set(carried))
    assert channel("block").max_bytes == 64 * 1024


def test_boards_may_write_exactly_their_channels() -> None:
    """By the access rules that ship, in which `%u` is whoever speaks."""
    rules = (ROOT / "broker_config" / "acl").read_text(encoding="utf-8")
    for verb, parties in (("write", "writers"), ("read", "readers")):
        granted = re.findall(rf"^pattern {verb} (\S+)$", rules, re.MULTILINE)
        patterns = [re.compile(re.sub(r"%u|\+", "[^/]+", rule).replace("#", ".+")) for rule in granted]
        for each in CHANNELS:
            may = any(pattern.fullmatch(address(each)) for pattern in patterns)
            assert may == (Party.BOARD in getattr(each, parties)), (verb, each.name)


def test_the_table_in_the_architecture_says_the_same() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    said = {topic: (quality, who) for topic, quality, who in rows}
    expected = {
        each.topic: (
            ", ".join([str(each.qos), *["yes"] * each.retained, *["will"] * each.is_will]),
            ", ".join(party.value for party in each.writers),
        )
        for each in CHANNELS
    }
    assert said == expected
