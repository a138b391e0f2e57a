"""Turns what comes from the broker into events: the one place where a board's messages are decoded."""

from __future__ import annotations

from convoy_schema import codec
from convoy_schema.artifacts import BLOCK_BYTES, Manifest
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.errors import DecodeError, TopicError
from convoy_schema.messages.boards import BoardState, Command
from convoy_schema.messages.desired import Desired
from convoy_schema.signing import Statements
from convoy_schema.topics import BlockTopic, BoardTopic, ManifestTopic, ModelTopic, Topics, TrustTopic

from convoy_device import events
from convoy_device.events import Event


def read(board: str, topics: Topics, topic: str, payload: bytes, retained: bool) -> Event | None:
    """The event in a message, None for one that is not for this board; what cannot be read is a `Refused`."""
    try:
        address = topics.parse(topic)
    except TopicError as error:
        return events.Refused("topic", str(error))
    match address:
        case BoardTopic(name, leaf) if name == board:
            return _own(leaf, payload, retained)
        case BlockTopic(digest, block):
            if len(payload) > BLOCK_BYTES:
                return events.Refused("block", f"a block has at most {BLOCK_BYTES} bytes, {len(payload)} came")
            return events.BlockReceived(digest, block, payload)
        case ManifestTopic(digest):
            return _manifest(digest, payload)
        case ModelTopic(model, version):
            return _model(model, version, payload)
        case TrustTopic():
            return _trust(payload)
    return None


def _own(leaf: str, payload: bytes, retained: bool) -> Event | None:
    try:
        if leaf == "desired":
            if not payload:
                return None  # what was retained was cleared; the board keeps what it has
            return events.DesiredReceived(codec.decode(Desired, payload))
        if leaf == "command":
            return events.CommandReceived(codec.decode(Command, payload))
        if leaf == "state":
            return events.StateSeen(codec.decode(BoardState, payload), retained)
    except DecodeError as error:
        return events.Refused(leaf, str(error))
    return None


def _manifest(digest: str, payload: bytes) -> Event | None:
    if not payload:
        return None  # a retained manifest was cleared
    try:
        manifest = codec.decode(Manifest, payload)
    except DecodeError as error:
        return events.Refused("manifest", str(error))
    if manifest.digest != digest:
        return events.Refused("manifest", f"the manifest of {digest[:12]} names {manifest.digest[:12]}")
    return events.ManifestReceived(manifest)


def _model(model: str, version: str, payload: bytes) -> Event | None:
    if not payload:
        return None
    try:
        return events.ModelReceived(model, version, codec.decode(ModelAnnouncement, payload))
    except DecodeError as error:
        return events.Refused("model", str(error))


def _trust(payload: bytes) -> Event | None:
    if not payload:
        return None  # what was retained was cleared; the board keeps what it has learned
    try:
        return events.TrustReceived(codec.decode(Statements, payload))
    except DecodeError as error:
        return events.Refused("trust", str(error))
