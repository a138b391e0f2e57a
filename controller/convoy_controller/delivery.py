"""Brings models and artifacts to the boards, on a connection of its own: nothing large ever delays a heartbeat.

A thin shell round the distributor: manifests and announcements are retained, blocks are multicast when wanted.
"""

from __future__ import annotations

import asyncio
import logging

from convoy_schema import codec
from convoy_schema.artifacts import Manifest
from convoy_schema.credentials import Credentials
from convoy_schema.errors import ConvoyError, DecodeError, TopicError
from convoy_schema.messages.boards import Want
from convoy_schema.surroundings import REAL, Surroundings
from convoy_schema.topics import BoardTopic, Topics

from convoy_controller.catalogue import Catalogue
from convoy_controller.database.records import SavedModel
from convoy_controller.distributor import GATHER_S, Distributor, SendBlock, SendManifest
from convoy_controller.rarely import is_doubled

log = logging.getLogger(__name__)

#: Seconds between looks at a socket that takes no more.
CONGESTED_S = 0.005
#: Seconds after which a board that has asked for nothing does not ask, though it fetches: it asks again each two.
ASKS_S = 6.0
#: Refusals that are told one by one; of a flood only every power of two is, so that it fills no disk.
TOLD_SINGLY = 100


def is_worth_saying(count: int) -> bool:
    """Whether the refusal that makes it `count` is to be told."""
    return count <= TOLD_SINGLY or is_doubled(count)


class Delivery:
    """The controller's bulk connection. `run` ends with `stop`, or when its task is cancelled."""

    def __init__(
        self,
        url: str,
        name: str,
        topics: Topics,
        catalogue: Catalogue,
        credentials: Credentials | None = None,
        surroundings: Surroundings = REAL,
    ) -> None:
        self._topics = topics
        self._catalogue = catalogue
        self.distributor = Distributor()
        self._wanted = asyncio.Event()
        #: When each board asked last, and for what; and why an artifact could not be sent when it was last asked for.
        self._asked: dict[str, tuple[float, str]] = {}
        self._unsent: dict[str, str] = {}
        self._announced: dict[str, SavedModel] = {}
        self.link = surroundings.link(
            url, f"{name}:bulk", on_message=self._received, on_connect=self._connected, credentials=credentials
        )
        #: Whether this controller is in charge; one that stands by sends nothing.
        self.is_active = True
        #: Payload bytes published: announcements, manifests and blocks.
        self.published = 0
        #: Wants that could not be read or met.
        self.refused = 0

    def begin_anew(self) -> None:
        """A reign begins: the broker may have forgotten meanwhile what the one before announced."""
        self._announced.clear()
        self.is_active = True

    async def run(self) -> None:
        """Keep the connection, and send what is wanted at the distributor's pace."""
        await asyncio.gather(self.link.run(), self._carousel())

    async def stop(self) -> None:
        """Disconnect."""
        await self.link.stop()

    def announce(self, model: SavedModel, *, anew: bool = False) -> None:
        """Publish a model and the manifests of all that it names; again after every reconnect, or `anew`."""
        known = model.digest in self._announced
        self._announced[model.digest] = model
        if anew or not known:
            self._restate(model)

    def is_announced(self, digest: str) -> bool:
        """Whether that bundle is announced."""
        return digest in self._announced

    def withdraw(self, digest: str) -> None:
        """Announce that bundle no more, until it is announced anew."""
        self._announced.pop(digest, None)

    def why_not_sent(self, board: str) -> str:
        """What is known here of why a board that fetches gets nothing."""
        asked_at, digest = self._asked.get(board, (float("-inf"), ""))
        if asyncio.get_running_loop().time() - asked_at > ASKS_S:
            return "the controller hears no request of it: its bulk connection, or the controller's, may be broken"
        if digest in self._unsent:
            return f"the controller cannot send artifact {digest[:12]}: {self._unsent[digest]}"
        return f"the controller hears its requests and sends artifact {digest[:12]}, and nothing arrives there"

    def clear(self, topic: str) -> bool:
        """Take back what is retained on one of our topics; after what was said on it, as it goes the same way."""
        return self.link.publish(topic, b"", qos=1, retain=True)

    def _connected(self) -> None:
        self.link.subscribe(self._topics.board("+", "want"), 1)
        if self.is_active:
            for model in self._announced.values():
                self._restate(model)

    def _restate(self, model: SavedModel) -> None:
        try:
            self._publish(self._topics.model(model.name, model.version), codec.encode(model.announcement))
            for manifest in self._catalogue.manifests(model):
                self._state_manifest(manifest)
        except ConvoyError as error:
            log.error("model %s %s cannot be announced: %s", model.name, model.version, error)

    def _state_manifest(self, manifest: Manifest) -> None:
        self._publish(self._topics.manifest(manifest.digest), codec.encode(manifest))

    def _publish(self, topic: str, payload: bytes) -> None:
        if self.link.publish(topic, payload, qos=1, retain=True):
            self.published += len(payload)

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:
        if not self.is_active:
            return
        try:
            parsed = self._topics.parse(topic)
            if isinstance(parsed, BoardTopic) and parsed.leaf == "want":
                self._want(parsed.board, codec.decode(Want, payload))
        except (DecodeError, TopicError) as error:
            self._refuse(f"{topic[:120]}: {error}")
        except ConvoyError as error:
            self._refuse(f"{topic[:120]}: a board wants what cannot be sent: {error}")

    def _refuse(self, sentence: str) -> None:
        self.refused += 1
        if is_worth_saying(self.refused):
            log.warning("%s (%d refused so far)", sentence, self.refused)

    def _want(self, board: str, want: Want) -> None:
        now = asyncio.get_running_loop().time()
        self._asked[board] = now, want.digest
        manifest = self._catalogue.manifest(want.digest)
        blocks = tuple(block for block in want.blocks if block < manifest.blocks)
        if want.blocks and not blocks:
            return
        # None at all: the board lacks the manifest itself, as the broker may have forgotten it.
        self.distributor.want(board, want.digest, blocks, now)
        self._wanted.set()

    async def _carousel(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = self.distributor.wake_at()
            if due is None:
                self._wanted.clear()
                await self._wanted.wait()
            elif due > clock():
                await asyncio.sleep(min(due - clock(), GATHER_S))  # nothing that is asked for meanwhile is due before
            elif self.link.is_congested:
                await asyncio.sleep(CONGESTED_S)
            else:
                self._send_next(clock())
                await asyncio.sleep(0)  # blobs never hold the loop for longer than one block

    def _send_next(self, now: float) -> None:
        match self.distributor.next(now):
            case SendManifest(digest):
                self._state_wanted(digest)
            case SendBlock() as block:
                self._send_block(block, now)

    def _state_wanted(self, digest: str) -> None:
        try:
            self._state_manifest(self._catalogue.manifest(digest))
        except ConvoyError as error:  # its model was deleted between the request and now
            self._refuse(f"the manifest of {digest[:12]}: {error}")

    def _send_block(self, block: SendBlock, now: float) -> None:
        try:
            content = self._catalogue.read_block(block.digest, block.block)
        except ConvoyError as error:
            log.error("block %d of %s: %s", block.block, block.digest[:12], error)
            self._unsent[block.digest] = str(error)
            return
        self._unsent.pop(block.digest, None)
        self.distributor.charge(now, len(content))
        if self.link.publish(self._topics.block(block.digest, block.block), content):
            self.published += len(content)
