"""Every topic of the contract reads back as it was built, and nothing else is one."""

from __future__ import annotations

import pytest
from convoy_schema.errors import TopicError
from convoy_schema.names import Generation
from convoy_schema.topics import (
    BOARD_LEAVES,
    GATEWAY_LEAVES,
    BlockTopic,
    BoardTopic,
    ControllerTopic,
    FrameTopic,
    GatewayTopic,
    ManifestTopic,
    ModelTopic,
    Topic,
    Topics,
    TrustTopic,
)
from hypothesis import example, given
from hypothesis import strategies as st
from topic_texts import build

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
numbers = st.sampled_from([0, 1, 10, 999_999_999]) | st.integers(0, 999_999_999)
counts = st.integers(0, 2**63 - 1)
generations = st.builds(Generation, counts, counts)
leaves: dict[type[Topic], st.SearchStrategy[Topic]] = {
    BoardTopic: st.builds(BoardTopic, names, st.sampled_from(BOARD_LEAVES)),
    GatewayTopic: st.builds(GatewayTopic, names, st.sampled_from(GATEWAY_LEAVES)),
    ControllerTopic: st.builds(ControllerTopic),
    ModelTopic: st.builds(ModelTopic, names, names),
    TrustTopic: st.builds(TrustTopic),
    ManifestTopic: st.builds(ManifestTopic, digests),
    BlockTopic: st.builds(BlockTopic, digests, numbers),
    FrameTopic: st.builds(FrameTopic, names, names, names, generations, numbers),
}
every_topic: st.SearchStrategy[Topic] = st.one_of(*leaves.values())
SITE = Topics("site-1")


@pytest.mark.parametrize("cls", leaves, ids=lambda cls: cls.__name__)
@given(st.data())
def test_every_form_reads_back_as_it_was_built(cls: type[Topic], data: st.DataObject) -> None:
    topics = Topics(data.draw(names))
    topic: Topic = data.draw(leaves[cls])
    text = build(topics, topic)
    assert topics.parse(text) == topic
    assert text.startswith(f"convoy/1/{topics.site}/")
    assert len(text) < 500
    assert not set("+#\x00") & set(text)


def test_the_tree_is_the_documented_one() -> None:
    digest = "a" * 64
    assert SITE.board("b1", "pulse") == "convoy/1/site-1/boards/b1/pulse"
    assert SITE.gateway("g1", "desired") == "convoy/1/site-1/gateways/g1/desired"
    assert SITE.controller_state() == "convoy/1/site-1/controller/state"
    assert SITE.trust() == "convoy/1/site-1/models/trust"
    assert SITE.model("lenet5", "1") == "convoy/1/site-1/models/lenet5/1"
    assert SITE.manifest(digest) == f"convoy/1/site-1/artifacts/{digest}"
    assert SITE.block(digest, 3) == f"convoy/1/site-1/artifacts/{digest}/3"
    assert SITE.frame("g1", "b1", "d", Generation(1, 2), 0) == "convoy/1/site-1/from/g1/to/b1/d/1-2/0"


def test_filters() -> None:
    assert SITE.board("+", "want") == "convoy/1/site-1/boards/+/want"
    assert SITE.gateway("+", "state") == "convoy/1/site-1/gateways/+/state"
    assert SITE.model("+", "+") == "convoy/1/site-1/models/+/+"
    assert SITE.block("a" * 64, "+") == f"convoy/1/site-1/artifacts/{'a' * 64}/+"
    assert SITE.frames_to("b1") == "convoy/1/site-1/from/+/to/b1/#"


def check(text: str) -> None:
    """Parse `text`: a topic of the contract, in its one form, or a `TopicError`."""
    try:
        topic = SITE.parse(text)
    except TopicError as error:
        shown = str(error)
        assert len(shown) < 1000
        return
    assert build(SITE, topic) == text


@given(st.text(max_size=100))
@example("")
@example("convoy/1/site-1/")
@example("convoy/1/site-1")
@example("\x00")
def test_any_text_is_a_topic_or_a_topic_error(text: str) -> None:
    check(text)
    check(SITE.prefix + text)
    for other in (text, "convoy/1/" + text, "$SYS/" + text):
        if not other.startswith(SITE.prefix):
            with pytest.raises(TopicError):
                SITE.parse(other)


levels = st.one_of(
    st.sampled_from(
        ["from", "to", "boards", "gateways", "artifacts", "models", "controller", "state", "want", "", "+"]
    ),
    st.sampled_from(["#", "1-2", "01-2", "007", "-1", "1e3", "٣", "a" * 64, "A" * 64, "g" * 64, "9" * 10, "b\n"]),
    names,
    st.text(max_size=5),
)


@given(st.lists(levels, max_size=9).map("/".join))
def test_levels_thrown_together_are_a_topic_or_a_topic_error(text: str) -> None:
    check(SITE.prefix + text)


@given(every_topic, st.data())
def test_one_character_changed_is_another_topic_or_none(topic: Topic, data: st.DataObject) -> None:
    text = build(SITE, topic)
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.characters()) + text[place + 1 :]
    check(changed)
    check(text[:place] + text[place + 1 :])
    check(text[:place])
    check(text + "/")


@pytest.mark.parametrize(
    "below",
    [
        "boards/b1",
        "boards/b1/unknown",
        "boards/B1/state",
        "boards//state",
        "boards/+/state",
        "boards/b1/state/more",
        "gateways/g1/pulse",
        "controller/desired",
        "controller/state/",
        "models/m",
        "models/m/1/2",
        "artifacts/abc",
        f"artifacts/{'A' * 64}",
        f"artifacts/{'a' * 63}g",
        f"artifacts/{'a' * 64}/-1",
        f"artifacts/{'a' * 64}/01",
        f"artifacts/{'a' * 64}/+",
        f"artifacts/{'a' * 64}/1234567890",
        "from/a/to/b/d/1-2",
        "from/a/to/b/d/1-2/x",
        "from/a/to/b/d/1-2/0/0",
        "from/a/to/b/d/2/0",
        "from/a/to/b/d/1-2/00",
        "from/a/for/b/d/1-2/0",
        "from/A/to/b/d/1-2/0",
    ],
)
def test_what_is_nearly_a_topic_is_refused(below: str) -> None:
    with pytest.raises(TopicError):
        SITE.parse(SITE.prefix + below)


def test_another_site_or_tree_is_not_ours() -> None:
    for text in (
        "convoy/1/site-2/controller/state",
        "convoy/2/site-1/controller/state",
        "convoy/1/site-12/boards/b/want",
    ):
        with pytest.raises(TopicError, match="is not below convoy/1/site-1/"):
            SITE.parse(text)


def test_a_topic_that_does_not_exist_is_not_built() -> None:
    for call in (
        lambda: Topics("Site"),
        lambda: Topics("+"),
        lambda: SITE.board("b1", "reborn"),
        lambda: SITE.board("b/1", "state"),
        lambda: SITE.gateway("g1", "pulse"),
        lambda: SITE.gateway("#", "state"),
        lambda: SITE.model("m", "1.0"),
        lambda: SITE.frames_to("+"),
    ):
        with pytest.raises(TopicError):
            call()
