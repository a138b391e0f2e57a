"""Taking charge: with proof of continuity the database says what was decided, without it the fleet says what runs.

Blocking work on the database, run by `service` in its worker thread. A database that is empty or was restored from a
backup proves nothing: then models, deployments and generations are rebuilt from what boards, gateways and retained
announcements say, in an epoch above every one heard, and nothing that runs is taken away because a table is empty.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from convoy_schema.bundle import ModelAnnouncement, VerifiedModel, verify
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.desired import Assignment
from convoy_schema.messages.gateways import GatewayReported
from convoy_schema.trust import Trust

from convoy_controller.adoption import adopt, highest_counter
from convoy_controller.catalogue import Catalogue
from convoy_controller.database.engine import Database
from convoy_controller.database.intents import adopt_deployment
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import Counters, FleetState, GenerationState
from convoy_controller.errors import DatabaseBusyError
from convoy_controller.placement import Placement, restored, saved

log = logging.getLogger(__name__)

#: Announcements remembered for a database that may have lost its models.
MAX_ANNOUNCEMENTS = 1024


@dataclass
class Heard:
    """What the fleet says of itself: the highest numbers anyone spoke of, and what boards and gateways hold."""

    epoch: int = 0
    revision: int = 0
    held: dict[str, tuple[Assignment, ...]] = field(default_factory=dict)
    gateways: dict[str, GatewayReported] = field(default_factory=dict)
    announcements: dict[str, ModelAnnouncement] = field(default_factory=dict)

    def note(self, epoch: int, revision: int = 0) -> None:
        """Remember the higher of what is known and what came."""
        if (epoch, revision) > (self.epoch, self.revision):
            self.epoch, self.revision = epoch, revision

    def announce(self, topic: str, announcement: ModelAnnouncement) -> None:
        """Remember a model that is announced, within bounds."""
        if len(self.announcements) < MAX_ANNOUNCEMENTS:
            self.announcements[topic] = announcement


@dataclass(frozen=True)
class Reign:
    """Where a controller begins: its epoch and counters, what is live, and who may still hold something.

    `known` is the newest (epoch, revision) of all that it was made from, database and fleet.
    """

    known: tuple[int, int]
    epoch: int
    generation: int
    revision: int
    placements: tuple[Placement, ...]
    holders: tuple[str, ...]
    sentence: str


def is_continuous(counters: Counters, heard: Heard) -> bool:
    """Whether this database is as new as anything the fleet has heard of: numbers are saved before they go out."""
    return counters.epoch > 0 and (counters.epoch, counters.revision) >= (heard.epoch, heard.revision)


def contradiction(reign: Reign, revision: int, spoken: tuple[int, int]) -> str:
    """Why (epoch, revision) that a board or gateway speaks of shows that the reign began on too little; '' if not.

    `revision` is the newest that the reign itself has given out. Somebody who was not heard at the beginning may hold
    what a newer database had placed: then the beginning has to be made again, with that voice heard.
    """
    own = (reign.epoch, revision)
    if spoken > own or (spoken[0] < reign.epoch and spoken > reign.known):
        return f"the fleet has heard of revision {spoken[1]} of epoch {spoken[0]}, which this database knows nothing of"
    return ""


def begin(
    recorder: Recorder,
    database: Database,
    catalogue: Catalogue,
    trust: Trust,
    state: FleetState,
    heard: Heard,
    is_clean: bool,
) -> Reign:
    """Open a reign; `is_clean` says that whoever reigned before said goodbye. May raise `DatabaseError`, and then
    the state has to be read again.
    """
    counters = state.counters
    known = max((counters.epoch, counters.revision), (heard.epoch, heard.revision))
    if is_continuous(counters, heard):
        epoch = counters.epoch if is_clean else max(counters.epoch, heard.epoch) + 1
        with recorder.transaction():
            _check_unchanged(recorder, counters)
            recorder.raise_counters(epoch=epoch)
        placements = tuple(restored(generation) for generation in state.generations)
        holders = tuple(board.name for board in state.boards if board.desired_revision)
        sentence = f"in charge, epoch {epoch}"
        return Reign(known, epoch, counters.generation, counters.revision, placements, holders, sentence)
    epoch = max(counters.epoch, heard.epoch) + 1
    generation = max(counters.generation, highest_counter(heard.held))
    revision = max(counters.revision, heard.revision)
    models = _rebuild_models(catalogue, trust, heard.announcements)
    placements = adopt(heard.held, heard.gateways)
    with recorder.transaction():
        _check_unchanged(recorder, counters)
        recorder.raise_counters(epoch=epoch, generation=generation, revision=revision)
        _forget_what_does_not_run(recorder, state, placements)
    for placement in placements:
        if placement.state is GenerationState.SERVING:
            adopt_deployment(database, placement.intent)
        recorder.save_generation(saved(placement))
    if not (counters.epoch or heard.epoch):
        sentence = f"in charge, epoch {epoch}: the database is new, and nobody speaks of anything that runs"
        return Reign(known, epoch, generation, revision, placements, tuple(heard.held), sentence)
    sentence = (
        f"in charge, epoch {epoch}: the database cannot prove that it is the newest, so {len(placements)} generations "
        f"were adopted from {len(heard.held)} boards and {models} models from their announcements"
    )
    return Reign(known, epoch, generation, revision, placements, tuple(heard.held), sentence)


def _check_unchanged(recorder: Recorder, counters: Counters) -> None:
    """Whoever reigned until now may write until the very transaction that opens the next reign: then look again."""
    now = recorder.raise_counters()
    if (now.epoch, now.revision, now.generation) != (counters.epoch, counters.revision, counters.generation):
        raise DatabaseBusyError(
            f"another controller has written while this one was about to take charge: epoch {now.epoch}, revision "
            f"{now.revision} where epoch {counters.epoch}, revision {counters.revision} was read; it is tried again"
        )


def _forget_what_does_not_run(recorder: Recorder, state: FleetState, adopted: tuple[Placement, ...]) -> None:
    """Generations of an older database that no board holds any more are history."""
    live = {placement.key for placement in adopted}
    for generation in state.generations:
        if (generation.deployment, generation.generation) not in live:
            reason = "not found on the fleet by a controller without continuity"
            recorder.save_generation_state(
                generation.deployment, generation.generation, GenerationState.RETIRED, reason
            )


def _rebuild_models(catalogue: Catalogue, trust: Trust, announcements: Mapping[str, ModelAnnouncement]) -> int:
    """Models that are announced, signed by our key and whole in the blob store, made known again; returns how many."""
    rebuilt = 0
    for topic, announcement in sorted(announcements.items()):
        try:
            model: VerifiedModel = verify(announcement, trust)
            rebuilt += catalogue.restore_model(model, announcement)
        except ConvoyError as error:
            log.warning("what is announced as %s cannot be rebuilt: %s", topic, error)
    return rebuilt
