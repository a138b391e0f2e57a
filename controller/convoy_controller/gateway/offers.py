"""What a gateway serves, by name: which deployments answer for a model or a deployment, the one to ask first."""

from __future__ import annotations

from functools import partial

from convoy_schema.bundle import VerifiedModel
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.gateways import Feed, GatewayDesired

from convoy_controller.errors import NotServingError, UnknownModelError
from convoy_controller.gateway.models import ModelCache
from convoy_controller.gateway.session import GatewaySession


class Offers:
    """The controller's last order, `desired`, looked up by what callers ask for. `service` keeps it up to date."""

    def __init__(self, session: GatewaySession, models: ModelCache) -> None:
        self.desired: GatewayDesired | None = None
        self._session = session
        self._models = models

    def all(self) -> list[tuple[Feed, VerifiedModel | None]]:
        """Every deployment this gateway feeds, with its model once it is verified."""
        feeds = self.desired.feeds if self.desired is not None else ()
        return [(feed, self._models.models.get(feed.model.bundle)) for feed in feeds]

    def feeds_of(self, name: str | None, version: str | None = None) -> list[Feed]:
        """Feeds of a model, or the deployment of that name, the one to ask first; never empty.

        Raises `UnknownModelError` that names what there is, or `NotServingError` while nothing is known yet.
        """
        if self.desired is None:
            raise NotServingError("this gateway has not been told yet what to serve; try again shortly")
        feeds = self.desired.feeds
        found = [feed for feed in feeds if name is None or feed.model.model == name]
        if not found:
            found = [feed for feed in feeds if feed.intent.deployment == name]
        if version is not None:
            found = [feed for feed in found if feed.model.version == version]
        if len(found) == 1:
            return found
        known = ", ".join(sorted({f"{feed.model.model} {feed.model.version}" for feed in feeds})) or "none"
        if not found:
            asked = " ".join(part for part in (name or "any model", version) if part)
            raise UnknownModelError(f"{asked} is not served here; models: {known}", known=known)
        if name is None and len({feed.model.model for feed in found}) > 1:
            raise UnknownModelError(f"say which model: this gateway serves {known}", known=known)
        return sorted(found, key=partial(self._preference, name))

    def _preference(self, name: str | None, feed: Feed) -> tuple[bool, int, int, float, str]:
        """The one of that name first, then those that are ready, those that serve, the newest, the least wait.

        The one of that name is asked even where another is in a better state while it serves at all: what is too much
        for one deployment is not to be made good by another, which has callers of its own.
        """
        model = self._models.models.get(feed.model.bundle)
        deployment = feed.intent.deployment
        serves = self._session.is_serving(deployment)
        worse = 2 - serves - self._session.is_ready(deployment)
        serial = model.bundle.serial if model is not None else 0
        is_meant = serves and deployment == name
        return not is_meant, worse, -serial, self._session.wait_s(deployment), deployment

    def resolve(self, name: str | None, version: str | None = None) -> tuple[Feed, VerifiedModel]:
        """Who and what answer for `name`; raises as `feeds_of`, and `NotServingError` without its bundle."""
        feed = self.feeds_of(name, version)[0]
        model = self._models.models.get(feed.model.bundle)
        if model is None:
            raise NotServingError(
                f"the signed bundle of {feed.model.model} {feed.model.version} has not arrived yet; try again shortly"
            )
        return feed, model

    def owners(self, name: str, version: str | None = None) -> tuple[str, frozenset[str]]:
        """The deployment that is asked for `name`, '' where there is none; and all there are."""
        feeds = self.desired.feeds if self.desired is not None else ()
        try:
            owner = self.feeds_of(name, version)[0].intent.deployment
        except ConvoyError:
            owner = ""  # its body is read before it is refused
        return owner, frozenset(feed.intent.deployment for feed in feeds)

    def check_ready(self, name: str, version: str | None = None) -> None:
        """Raise `NotServingError` unless a deployment of `name` is known to answer its golden vector now.

        Raises as `feeds_of` too.
        """
        feeds = self.feeds_of(name, version)
        if feeds[0].intent.deployment == name:
            feeds = feeds[:1]  # no other is asked
        if not any(self._session.is_ready(feed.intent.deployment) for feed in feeds):
            why = self._session.why_not_ready(feeds[0].intent.deployment)
            raise NotServingError(f"{name} is known, but not ready: {why}")

    def check_all_ready(self) -> None:
        """Raise `NotServingError` unless there is a deployment, and each is ready as `check_ready` says."""
        waited_for = [feed for feed, _ in self.all() if not self._session.is_ready(feed.intent.deployment)]
        if self.desired is None or not self.desired.feeds:
            raise NotServingError("this gateway feeds no deployment yet")
        if waited_for:
            name = waited_for[0].intent.deployment
            raise NotServingError(
                f"{len(waited_for)} of {len(self.desired.feeds)} deployments are not ready; "
                f"{name}: {self._session.why_not_ready(name)}"
            )
