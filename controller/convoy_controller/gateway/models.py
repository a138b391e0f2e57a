"""The models a gateway feeds: announcements heard, their signatures checked, kept by bundle digest.

Bounded by what the controller's orders name: an announcement nobody asked for is refused unread.
"""

from __future__ import annotations

from collections.abc import Mapping

from convoy_schema import codec
from convoy_schema.bundle import ModelAnnouncement, VerifiedModel, verify
from convoy_schema.errors import SignatureError
from convoy_schema.messages.gateways import GatewayDesired
from convoy_schema.signing import Statements
from convoy_schema.topics import ModelTopic
from convoy_schema.trust import Trust

from convoy_controller.gateway.tensors import Converter


class ModelCache:
    """Verified models of the feeds, and the topics on which missing ones are awaited."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._named: dict[str, ModelTopic] = {}
        self._models: dict[str, VerifiedModel] = {}
        self._converters: dict[str, Converter] = {}

    @property
    def models(self) -> Mapping[str, VerifiedModel]:
        """Verified models by bundle digest."""
        return self._models

    @property
    def topics(self) -> frozenset[ModelTopic]:
        """Where the announcements of every named model are."""
        return frozenset(self._named.values())

    def converter(self, model: VerifiedModel) -> Converter:
        """The caller's side of a model in the cache."""
        found = self._converters.get(model.digest)
        if found is None:
            found = self._converters[model.digest] = Converter(model)
        return found

    def follow(self, desired: GatewayDesired) -> None:
        """Keep what the order names, and forget the rest."""
        routes = [route for feed in desired.feeds for route in (feed.serving, feed.probing) if route is not None]
        named = [*(feed.model for feed in desired.feeds), *(route.model for route in routes)]
        self._named = {model.bundle: ModelTopic(model.model, model.version) for model in named}
        self._models = {digest: model for digest, model in self._models.items() if digest in self._named}
        self._converters = {digest: each for digest, each in self._converters.items() if digest in self._named}

    def learn(self, statements: Statements) -> None:
        """Believe which keys may sign and which bundles were revoked; raises the first `ConvoyError` of what is not."""
        self._trust, refused = self._trust.learn(statements)
        if refused:
            raise refused[0]

    def hear(self, topic: ModelTopic, payload: bytes) -> bool:
        """Take an announcement; returns whether a model became known.

        Raises `DecodeError` or `SignatureError` for one that is damaged, forged, or published under another name.
        """
        if topic not in self._named.values():
            return False
        announcement = codec.decode(ModelAnnouncement, payload)
        if announcement.digest not in self._named or announcement.digest in self._models:
            return False
        if announcement.delegation is not None:
            self._trust = self._trust.with_delegation(announcement.delegation)
        model = verify(announcement, self._trust)
        if (model.bundle.model, model.bundle.version) != (topic.model, topic.version):
            raise SignatureError(
                f"the bundle of {model.bundle.model} {model.bundle.version} came as {topic.model} {topic.version}",
                expected=f"{topic.model}/{topic.version}",
            )
        self._models[model.digest] = model
        return True
