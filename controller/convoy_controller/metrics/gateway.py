"""A gateway on a page: what it counts already, read when somebody asks."""

from __future__ import annotations

from collections import Counter

from convoy_schema.messages.gateways import Feed, FeedReport

from convoy_controller.api.version import version
from convoy_controller.errors import DeadlineError, InvalidInputError, NotServingError, OverloadError
from convoy_controller.gateway.service import GatewayService
from convoy_controller.gateway.statistics import Counters
from convoy_controller.metrics import families as f
from convoy_controller.metrics.links import write_link
from convoy_controller.metrics.page import Page, Reasons, process_registry

#: Exported from the start: an increase is told from a series that was not there before.
_OUTCOMES = dict.fromkeys(
    ("answered", *(error.code for error in (DeadlineError, InvalidInputError, NotServingError, OverloadError))), 0
)


class GatewayPages:
    """Makes the pages of one gateway, in its loop: they are short."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._process = process_registry()
        self._frames, self._strays = Reasons(), Reasons()

    def text(self) -> bytes:
        """The page of now."""
        service, page = self._service, Page()
        session = service.session
        page.add(f.GATEWAY_INFO, 1, service.name, service.topics.site, version())
        page.add(f.GATEWAY_EPOCH, session.epoch)
        page.add(f.GATEWAY_REVISION, session.revision)
        write_link(page, "gateway", service.link)
        page.add(f.PUBLISHED, service.control_bytes, "control")
        page.add(f.PUBLISHED, service.frame_bytes, "activations")
        page.add(f.PENDING, session.pending)
        page.by_reason(f.HTTP_REQUESTS, {**_OUTCOMES, **service.outcomes})
        page.by_reason(f.STRAYS, self._strays.bounded(Counter(service.refused) + Counter(session.refused)))
        feeds = {feed.intent.deployment: feed for feed, _ in service.offers.all()}
        for name, feed in sorted(feeds.items()):
            self._write_feed(page, name, feed)
        page.add(f.GATEWAY_CONFIGURED, int(bool(feeds) and all(map(session.is_ready, feeds))))
        counters = session.counters()
        for report in session.report():
            self._write_counters(page, report, counters[report.deployment])
            self._write_load(page, report, feeds.get(report.deployment))
        return page.text(self._process)

    def _write_feed(self, page: Page, name: str, feed: Feed) -> None:
        generation = str(feed.serving.generation) if feed.serving is not None else ""
        page.add(f.FEED_INFO, 1, name, feed.model.model, feed.model.version, generation)
        page.add(f.FEED_READY, int(self._service.session.is_ready(name)), name)

    def _write_counters(self, page: Page, report: FeedReport, count: Counters) -> None:
        name = report.deployment
        page.add(f.REQUESTS_ACCEPTED, count.accepted, name)
        page.add(f.REQUESTS, count.answered, name, "answered")
        page.add(f.REQUESTS, count.failed, name, "failed")
        page.add(f.REQUESTS, count.cancelled, name, "cancelled")
        page.add(f.REQUEST_ROWS, count.rows, name)
        page.histogram(f.LATENCY, count.latencies, name)
        page.add(f.RETRIED, count.retried, name)
        page.add(f.LATE, count.late, name)
        page.by_reason(f.FRAMES_REFUSED, self._frames.bounded(count.refused), name)

    @staticmethod
    def _write_load(page: Page, report: FeedReport, feed: Feed | None) -> None:
        name, route = report.deployment, feed.serving if feed is not None else None
        page.add(f.IN_FLIGHT, sum(flight.frames for flight in report.in_flight), name)
        page.add(f.WAITING, report.waiting_rows, name)
        page.add(f.HOP, report.hop_us / 1e6, name)
        window = route.window if route is not None else 0
        own = sum(flight.frames for flight in report.in_flight if route and flight.generation == route.generation)
        page.add(f.WINDOW, window, name)
        page.add(f.CREDITS, max(0, window - own), name)
