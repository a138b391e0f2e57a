"""What is retained on the broker, or lies in the blob store, although nobody needs it: decided here and nowhere else.

A deterministic core: what was heard, `Facts` and `now` (monotonic seconds) in, findings out. Only what was heard at the
broker is cleared there, and only what is known for certain not to be needed: a model that its owner removed, or that
is in the catalogue and unused; a board that its owner removed; a gateway gone for long. What no table knows is never
cleared, since a table may have been lost. A controller that is not in charge, or has just taken over, clears nothing.
The shell is `housekeeping`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from convoy_schema.topics import BoardTopic, GatewayTopic, ManifestTopic, ModelTopic, Topic

from convoy_controller.database.records import ModelUse, References

#: Leaves that are retained.
BOARD_RETAINED = ("state", "capability", "desired", "reported")
GATEWAY_RETAINED = ("state", "desired", "reported")
#: Retained topics remembered; what is beyond is not cleared before there is room.
MAX_TOPICS = 200_000


@dataclass(frozen=True)
class Patience:
    """Seconds. `settled_s` from taking charge to the first clearing, so that everyone has spoken meanwhile."""

    settled_s: float = 10.0
    #: For what an owner removed.
    removed_s: float = 2.0
    #: For a model that is in the catalogue and unused: it may be wanted again.
    unused_s: float = 600.0
    #: For a gateway that is away, and for one that is away when an owner asks for a clearing.
    gateway_s: float = 86_400.0
    gateway_asked_s: float = 60.0


class FindingKind(enum.Enum):
    """What is in the way."""

    TOPIC = "topic"
    BLOB = "blob"


class Verdict(enum.Enum):
    """What becomes of it."""

    CLEAR = "clear"
    WAITS = "waits"
    #: Nobody knows it, so nobody can say that it is not needed.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """Something that nobody refers to. `name` is a topic or a digest, `size` in bytes."""

    kind: FindingKind
    name: str
    size: int
    verdict: Verdict
    reason: str
    #: Seconds until it may be cleared, as things are; None where it never is.
    due_in_s: float | None


@dataclass(frozen=True)
class Facts:
    """What is known at one moment; `references` from the database, the rest from this process."""

    references: References = field(default_factory=References)
    #: What is decided and perhaps not written yet: bundles, and (model, version).
    in_force: frozenset[str] = frozenset()
    intended: frozenset[tuple[str, str]] = frozenset()
    #: Boards that some generation counts on, or that are there.
    busy: frozenset[str] = frozenset()
    #: Gateways that are not away.
    gateways: frozenset[str] = frozenset()
    #: Whether the presence of every board and gateway is known.
    is_certain: bool = True
    #: Bytes of files in the blob store, by digest: those of removed models, or all when an owner asks for orphans.
    blobs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidate:
    kind: FindingKind
    name: str
    size: int
    #: What its time is counted for, and how long it must have been so; None for what is never cleared.
    group: str
    patience_s: float | None
    reason: str


class Garbage:
    """What one controller heard at the broker, and since when it has not been needed."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._there: dict[str, tuple[Topic, int]] = {}
        self._since: dict[str, float] = {}
        self._in_charge_since: float | None = None

    @property
    def topics(self) -> Mapping[str, int]:
        """Payload bytes of each retained topic that was heard, this controller's own included."""
        return {topic: size for topic, (_, size) in self._there.items()}

    def heard(self, topic: str, parsed: Topic, size: int) -> None:
        """A message came on a topic that is retained; no bytes say that it was cleared."""
        if not size:
            self._there.pop(topic, None)
        elif is_retained(parsed) and (topic in self._there or len(self._there) < MAX_TOPICS):
            self._there[topic] = parsed, size

    def lost(self) -> None:
        """The connection is gone: what the broker retains is heard anew."""
        self._there.clear()

    def governs(self, in_charge: bool, now: float) -> bool:
        """Whether this controller may clear: in charge, with proof of continuity or after adoption, and settled."""
        if not in_charge:
            self._in_charge_since = None
            self._since.clear()
            return False
        if self._in_charge_since is None:
            self._in_charge_since = now
        return self._settles_in(now) <= 0

    def survey(self, facts: Facts, now: float, *, asked: bool = False, orphans: bool = False) -> tuple[Finding, ...]:
        """Everything that nobody refers to, and whether it is to be cleared now.

        `asked`: an owner wants it cleared, so that what is only waited for goes at once; `orphans`: also files in the
        blob store that belong to no model there is or was.
        """
        settles_in = self._settles_in(now)
        if not (facts.is_certain and facts.references.is_whole):
            settles_in = max(settles_in, self._patience.removed_s)
        found = list(self._candidates(facts, asked, orphans))
        groups = {candidate.group for candidate in found}
        self._since = {group: self._since.get(group, now) for group in groups}
        return tuple(self._judge(candidate, settles_in, now) for candidate in found)

    def _settles_in(self, now: float) -> float:
        since = now if self._in_charge_since is None else self._in_charge_since
        return since + self._patience.settled_s - now

    def _judge(self, candidate: _Candidate, settles_in: float, now: float) -> Finding:
        what = candidate.kind, candidate.name, candidate.size
        if candidate.patience_s is None:
            return Finding(*what, Verdict.UNKNOWN, candidate.reason, None)
        due_in = max(settles_in, self._since[candidate.group] + candidate.patience_s - now, 0.0)
        return Finding(*what, Verdict.WAITS if due_in > 0 else Verdict.CLEAR, candidate.reason, due_in)

    # Who needs what --------------------------------------------------------------------------------------------------

    def _candidates(self, facts: Facts, asked: bool, orphans: bool) -> Iterator[_Candidate]:
        models = _Models(facts, self._patience, asked)
        for topic, (parsed, size) in sorted(self._there.items()):
            if isinstance(parsed, ModelTopic):
                found = models.of_topic((parsed.model, parsed.version))
            elif isinstance(parsed, ManifestTopic):
                found = models.of_artifact(parsed.digest)
            elif isinstance(parsed, BoardTopic):
                found = self._board(parsed.board, facts)
            elif isinstance(parsed, GatewayTopic):
                found = self._gateway(parsed.gateway, facts, asked)
            else:
                continue
            if found is not None:
                yield _Candidate(FindingKind.TOPIC, topic, size, *found)
        is_strange = any(
            isinstance(parsed, ModelTopic) and not models.knows((parsed.model, parsed.version))
            for parsed, _ in self._there.values()
        )
        for digest, size in sorted(facts.blobs.items()):
            found = models.of_blob(digest, orphans and not is_strange)
            if found is not None:
                yield _Candidate(FindingKind.BLOB, digest, size, *found)

    def _board(self, board: str, facts: Facts) -> tuple[str, float | None, str] | None:
        if board in facts.busy or board not in facts.references.forgotten:
            return None
        return f"board {board}", self._patience.removed_s, f"board {board} was removed"

    def _gateway(self, gateway: str, facts: Facts, asked: bool) -> tuple[str, float | None, str] | None:
        if gateway in facts.gateways:
            return None
        patience = self._patience.gateway_asked_s if asked else self._patience.gateway_s
        return f"gateway {gateway}", patience, f"gateway {gateway} is gone"


class _Models:
    """Which models and artifacts are needed, at one moment."""

    def __init__(self, facts: Facts, patience: Patience, asked: bool) -> None:
        self._patience = patience
        self._unused_s = 0.0 if asked else patience.unused_s
        references = facts.references
        in_force = references.in_force | facts.in_force
        intended = references.intended | facts.intended
        self._by_name: dict[tuple[str, str], ModelUse] = {}
        self._removed = {model.digest for model in references.removed}
        for model in (*references.removed, *references.catalogue):
            self._by_name[model.name, model.version] = model
        every = (*references.removed, *references.catalogue)
        self._published = {artifact for model in references.catalogue for artifact in model.artifacts}
        self._needed: set[str] = set()
        self._needed_artifacts: set[str] = set()
        self._users: dict[str, list[ModelUse]] = {}
        for model in every:
            is_removed = model.digest in self._removed
            wanted = self._by_name[model.name, model.version] is model and (model.name, model.version) in intended
            if wanted or model.digest in in_force or (model.digest in references.rollback and not is_removed):
                self._needed.add(model.digest)
                self._needed_artifacts |= model.artifacts
            for artifact in model.artifacts:
                self._users.setdefault(artifact, []).append(model)
        # A bundle in force that no table knows may need any artifact.
        self._is_open = not in_force <= {model.digest for model in every}

    def knows(self, key: tuple[str, str]) -> bool:
        """Whether it is in the catalogue, or was removed from it."""
        return key in self._by_name

    def of_topic(self, key: tuple[str, str]) -> tuple[str, float | None, str] | None:
        """(group, patience, reason) of a model's announcement; None while it is needed."""
        model = self._by_name.get(key)
        if model is None:
            return f"model {key}", None, f"model {key[0]} {key[1]} is in no catalogue: perhaps one was lost"
        return None if model.digest in self._needed else self._unneeded(model)

    def of_artifact(self, digest: str) -> tuple[str, float | None, str] | None:
        """The same for a manifest."""
        users = self._users.get(digest)
        if users is None:
            return f"artifact {digest}", None, "no model that is known names it"
        if self._is_open or digest in self._needed_artifacts:
            return None
        return max((self._unneeded(model) for model in users), key=lambda found: found[1])

    def of_blob(self, digest: str, orphans: bool) -> tuple[str, float | None, str] | None:
        """The same for a file in the blob store."""
        if self._is_open or digest in self._published or digest in self._needed_artifacts:
            return None
        users = self._users.get(digest)
        if users is not None:
            return self._unneeded(users[-1])
        return f"blob {digest}", 0.0 if orphans else None, "no model that is known names it"

    def _unneeded(self, model: ModelUse) -> tuple[str, float, str]:
        name = f"model {model.name} {model.version}"
        if model.digest in self._removed:
            return f"bundle {model.digest}", self._patience.removed_s, f"{name} was removed"
        return f"bundle {model.digest}", self._unused_s, f"no deployment uses {name}"


def is_retained(parsed: Topic) -> bool:
    """Whether what is said there stays at the broker, and may be cleared by the controller."""
    if isinstance(parsed, BoardTopic):
        return parsed.leaf in BOARD_RETAINED
    if isinstance(parsed, GatewayTopic):
        return parsed.leaf in GATEWAY_RETAINED
    return isinstance(parsed, (ModelTopic, ManifestTopic))
