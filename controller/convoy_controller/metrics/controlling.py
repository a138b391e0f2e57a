"""A controller on a page: who is in charge, its connections, its database, what it distributes, and the fleet.

Of several controllers of a site the one whose reign it is exports the fleet; one that stands by exports itself alone,
so that nothing is there twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timezone

from convoy_schema.errors import ConvoyError, DecodeError, SignatureError, TopicError, VersionError
from convoy_schema.link import Link

from convoy_controller.api.version import version
from convoy_controller.database import certificate_records
from convoy_controller.database.engine import Database
from convoy_controller.database.records import SymptomKind
from convoy_controller.delivery import Delivery
from convoy_controller.intake import Intake
from convoy_controller.journal import Journal
from convoy_controller.metrics import families as f
from convoy_controller.metrics.fleet import FleetPage, SeenFleet, seen
from convoy_controller.metrics.links import write_link
from convoy_controller.metrics.page import Page, Reasons, process_registry
from convoy_controller.reconciler import Reconciler
from convoy_controller.registry import Registry

log = logging.getLogger(__name__)

#: Exported from the start: an increase is told from a series that was not there before.
_REFUSALS = dict.fromkeys((DecodeError.code, VersionError.code, TopicError.code, SignatureError.code), 0)
#: Seconds between two looks at certificates: they last for weeks.
CERTIFICATES_S = 300.0


@dataclass(frozen=True)
class Watched:
    """The parts of a controller that count. `reign` is its reconciler, also while its connection is lost."""

    site: str
    registry: Registry
    journal: Journal
    intake: Intake
    delivery: Delivery
    control: Link
    symptoms: Collection[tuple[str, SymptomKind]]
    database: Database
    reign: Callable[[], Reconciler | None]
    is_in_charge: Callable[[], bool]
    published_bytes: Callable[[], int]


class ControllerPages:
    """Makes the pages of one controller: `begin` in its loop, then `finish` in a thread."""

    def __init__(self, watched: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._watched = watched
        self._clock = clock
        self._process = process_registry()
        self._fleet = FleetPage()
        self._refusals = Reasons()
        self._certificates = _Certificates(watched.database)

    def begin(self, now: float) -> tuple[Page, SeenFleet | None]:
        """The controller's own numbers, and references to the fleet's; `now` is the loop's time."""
        watched, page = self._watched, Page()
        reconciler = watched.reign()
        page.add(f.CONTROLLER_INFO, 1, watched.site, version())
        page.add(f.IN_CHARGE, int(watched.is_in_charge()))
        if reconciler is not None:
            page.add(f.EPOCH, reconciler.generation.epoch)
            page.add(f.GENERATION, reconciler.generation.counter)
            page.add(f.REVISION, reconciler.revision)
        page.by_reason(f.REFUSED_MESSAGES, {**_REFUSALS, **self._refusals.bounded(watched.intake.refused)})
        write_link(page, "control", watched.control)
        write_link(page, "bulk", watched.delivery.link)
        page.add(f.PUBLISHED, watched.published_bytes(), "control")
        page.add(f.PUBLISHED, watched.delivery.published, "artifacts")
        _write_delivery(page, watched.delivery)
        _write_journal(page, watched.journal)
        if reconciler is None:
            return page, None
        return page, seen(watched.registry, reconciler, watched.symptoms, now)

    def finish(self, page: Page, fleet: SeenFleet | None) -> bytes:
        """The page with the fleet on it; takes a second for tens of thousands of boards."""
        if fleet is not None:
            self._fleet.write(page, fleet)
            for holder, ends in self._certificates.ends(self._clock()).items():
                page.add(f.CERTIFICATE_ENDS, ends, holder)
        return page.text(self._process)


def _write_delivery(page: Page, delivery: Delivery) -> None:
    page.add(f.BLOCKS_SENT, delivery.distributor.sent)
    page.add(f.BLOCKS_WANTED, delivery.distributor.asked)
    page.add(f.BLOCKS_WAITING, delivery.distributor.waiting)
    page.add(f.WANTS_REFUSED, delivery.refused)


def _write_journal(page: Page, journal: Journal) -> None:
    page.histogram(f.WRITES, journal.writes)
    page.add(f.WRITE_FAILURES, journal.failures)
    page.add(f.WRITES_WAITING, journal.waiting)
    page.add(f.DECISIONS_WAITING, len(journal.held))
    page.add(f.RECORDS_DROPPED, journal.dropped)
    page.add(f.RECORDS_REFUSED, journal.refused)


class _Certificates:
    """When certificates end, read now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ends: Mapping[str, float] = {}
        self._read_at: float | None = None

    def ends(self, now: float) -> Mapping[str, float]:
        """Seconds since 1970 by holder; of a database that is away, what it said last."""
        if self._read_at is None or now - self._read_at >= CERTIFICATES_S:
            try:
                found = certificate_records.ends(self._database)
                self._ends = {name: end.replace(tzinfo=timezone.utc).timestamp() for name, end in found.items()}
                self._read_at = now
            except ConvoyError as error:
                log.warning("when certificates end is not known for now: %s", error)
        return self._ends
