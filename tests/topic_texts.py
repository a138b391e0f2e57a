"""The text of a parsed topic, for tests that ask whether the two directions agree."""

from __future__ import annotations

from convoy_schema.topics import (
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


def build(topics: Topics, topic: Topic) -> str:
    """The topic's text, by the contract's own builders."""
    match topic:
        case BoardTopic(board, leaf):
            return topics.board(board, leaf)
        case GatewayTopic(gateway, leaf):
            return topics.gateway(gateway, leaf)
        case ControllerTopic():
            return topics.controller_state()
        case ModelTopic(model, version):
            return topics.model(model, version)
        case TrustTopic():
            return topics.trust()
        case ManifestTopic(digest):
            return topics.manifest(digest)
        case BlockTopic(digest, block):
            return topics.block(digest, block)
        case FrameTopic(sender, receiver, deployment, generation, stage):
            return topics.frame(sender, receiver, deployment, generation, stage)
    raise AssertionError(f"{topic} is not a topic")
