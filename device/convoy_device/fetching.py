"""Which artifacts to fetch, which blocks to ask for now, and what to do with those that come. Deterministic, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from convoy_schema.artifacts import ASK_AGAIN_S, WINDOW, Assembly, Manifest
from convoy_schema.round_trip import RoundTrip

from convoy_device.effects import FinishArtifact, StoreBlock
from convoy_device.store import Partial

#: Artifacts fetched at once: bounds subscriptions, and what must be remembered.
MOST_AT_ONCE = 32
#: Blocks on their way to the disk; beyond it overheard ones are dropped, and asked for again when their turn comes.
MOST_UNWRITTEN = 32
#: Seconds until a manifest that is not retained at the broker is asked for, and until that is repeated, which doubles.
MANIFEST_S = 0.5
MANIFEST_AGAIN_S = 2.0
#: Seconds until a block is asked for again, at most. What delays blocks is mostly that too many ask: it is never less
#: than `ASK_AGAIN_S`, follows how long blocks took, and doubles each time that none comes.
MOST_PATIENCE_S = 8.0
#: Damaged blocks in a row after which a manifest is asked for again: the one retained may not be the controller's.
MOST_DOUBTS = 4


def _round_trip() -> RoundTrip:
    return RoundTrip(ASK_AGAIN_S, ASK_AGAIN_S, MOST_PATIENCE_S)


@dataclass
class _Fetch:
    """One artifact under way. `written` are blocks on disk, the assembly's also those on their way there."""

    assembly: Assembly | None = None
    written: set[int] = field(default_factory=set)
    ask_manifest_at: float = 0.0
    manifest_again_s: float = MANIFEST_AGAIN_S
    #: When its first blocks were asked for before it was known how many there are.
    hoped_at: float | None = None
    finishing: bool = False
    #: Blocks that were given to the store since this began: what an earlier fetch gave may have been dropped since.
    writing: set[int] = field(default_factory=set)
    #: Blocks that were asked for more than once: which asking they answer is not known.
    repeated: set[int] = field(default_factory=set)
    #: Damaged blocks since the last good one.
    doubts: int = 0


class Fetcher:
    """The pull side for all artifacts of a board, at most `WINDOW` blocks outstanding over all of them."""

    def __init__(self) -> None:
        self._fetches: dict[str, _Fetch] = {}
        #: What is on disk of artifacts that are not fetched just now.
        self._resting: dict[str, Partial] = {}
        self._unwritten = 0
        self._trip = _round_trip()
        #: How often in a row something was overdue.
        self._in_vain = 0

    def restore(self, partials: Iterable[Partial]) -> None:
        """Go on with what an earlier process left."""
        self._resting = {partial.manifest.digest: partial for partial in partials}

    def aim(self, digests: Iterable[str], now: float) -> None:
        """Fetch these, in this order, and nothing else."""
        wanted = list(dict.fromkeys(digests))[:MOST_AT_ONCE]
        if wanted == list(self._fetches):
            return
        for digest, fetch in self._fetches.items():
            if digest not in wanted and fetch.assembly is not None and fetch.written:
                self._resting[digest] = Partial(fetch.assembly.manifest, frozenset(fetch.written))
        self._fetches = {digest: self._fetches.get(digest) or self._begin(digest, now) for digest in wanted}

    def _begin(self, digest: str, now: float) -> _Fetch:
        partial = self._resting.pop(digest, None)
        if partial is None:
            return _Fetch(ask_manifest_at=now + MANIFEST_S)
        return _Fetch(Assembly(partial.manifest, set(partial.blocks)), set(partial.blocks))

    def keep(self, digests: frozenset[str]) -> None:
        """Forget resting downloads of anything else: the store drops them too."""
        self._resting = {digest: partial for digest, partial in self._resting.items() if digest in digests}

    @property
    def digests(self) -> tuple[str, ...]:
        """What is being fetched."""
        return tuple(self._fetches)

    def progress(self, digests: Iterable[str]) -> tuple[int, int]:
        """Packed bytes (there, in all) of those of `digests` whose manifests are known."""
        done = total = 0
        for digest in digests:
            fetch = self._fetches.get(digest)
            if fetch is not None and fetch.assembly is not None:
                done += fetch.assembly.done_bytes
                total += fetch.assembly.manifest.packed_size
        return done, total

    def waiting(self) -> str:
        """The first artifact whose manifest nobody has sent, or ''."""
        return next((digest for digest, fetch in self._fetches.items() if fetch.assembly is None), "")

    def manifest(self, manifest: Manifest) -> bool:
        """Take a manifest; False for one that nobody waits for, or that is there already."""
        fetch = self._fetches.get(manifest.digest)
        if fetch is None or fetch.finishing:
            return False
        if fetch.assembly is not None:
            if fetch.assembly.manifest == manifest:
                return False
            # Packed anew, by another controller: blocks on disk are of the old packing, and are overwritten.
            fetch.written.clear()
        fetch.assembly = Assembly(manifest)
        if fetch.hoped_at is not None:
            fetch.assembly.asked = dict.fromkeys(range(min(WINDOW, manifest.blocks)), fetch.hoped_at)
            fetch.hoped_at = None
        return True

    def block(self, digest: str, block: int, content: bytes, now: float) -> StoreBlock | None:
        """Take a block, asked for or overheard; None if it is of no use."""
        fetch = self._fetches.get(digest)
        if fetch is None or fetch.assembly is None or self._unwritten >= MOST_UNWRITTEN:
            return None
        asked_at = fetch.assembly.asked.get(block)
        if not fetch.assembly.accept(block, content):
            return None
        fetch.doubts = 0
        if asked_at is not None and block not in fetch.repeated:
            self._trip.observe(now - asked_at)
            self._in_vain = 0
        self._unwritten += 1
        fetch.writing.add(block)
        return StoreBlock(fetch.assembly.manifest, block, content)

    def is_damaged(self, digest: str, block: int, content: bytes) -> bool:
        """Whether a block that is still wanted is not what its manifest says."""
        fetch = self._fetches.get(digest)
        assembly = fetch.assembly if fetch is not None else None
        return assembly is not None and block not in assembly.have and not assembly.manifest.accepts(block, content)

    def doubt(self, digest: str) -> None:
        """A wanted block was damaged: after a few it may be the manifest that is wrong, so that is asked for again."""
        fetch = self._fetches.get(digest)
        if fetch is not None:
            fetch.doubts += 1

    def stored(self, effect: StoreBlock) -> None:
        """A block is on disk."""
        self._unwritten -= 1
        fetch = self._current(effect.manifest)
        if fetch is not None and effect.block in fetch.writing:
            fetch.writing.discard(effect.block)
            fetch.written.add(effect.block)

    def lost(self, effect: StoreBlock) -> None:
        """A block could not be written."""
        self._unwritten -= 1
        fetch = self._current(effect.manifest)
        if fetch is not None and fetch.assembly is not None and effect.block in fetch.writing:
            fetch.writing.discard(effect.block)
            fetch.assembly.have.discard(effect.block)

    def forget(self, digest: str) -> None:
        """The store has no such download any more: it is an artifact now, or did not unpack to its digest."""
        self._fetches.pop(digest, None)
        self._resting.pop(digest, None)

    def _patience_s(self) -> float:
        return self._trip.timeout(self._in_vain)

    def _current(self, manifest: Manifest) -> _Fetch | None:
        fetch = self._fetches.get(manifest.digest)
        if fetch is None or fetch.assembly is None or fetch.assembly.manifest != manifest:
            return None
        return fetch

    def finished(self) -> list[FinishArtifact]:
        """Downloads that are complete on disk, each once."""
        found = []
        for fetch in self._fetches.values():
            assembly = fetch.assembly
            if assembly is not None and not fetch.finishing and len(fetch.written) == assembly.manifest.blocks:
                fetch.finishing = True
                found.append(FinishArtifact(assembly.manifest))
        return found

    def failed_finish(self, digest: str) -> None:
        """A complete download could not be unpacked for lack of room: it may be tried again."""
        fetch = self._fetches.get(digest)
        if fetch is not None:
            fetch.finishing = False

    def asks(self, now: float) -> list[tuple[str, tuple[int, ...]]]:
        """(digest, blocks) to ask for at `now`; no blocks asks for the manifest.

        The first blocks of the first artifact are asked for before its manifest is there, which saves a round trip: the
        broker sends a retained manifest before any block, and nobody sends blocks that an artifact does not have.
        """
        found: list[tuple[str, tuple[int, ...]]] = []
        outstanding, patience_s, is_overdue = 0, self._patience_s(), False
        for fetch in self._fetches.values():
            if fetch.assembly is not None:
                asked = fetch.assembly.asked
                for block in [block for block, at in asked.items() if now >= at + patience_s]:
                    del asked[block]
                    fetch.repeated.add(block)
                    is_overdue = True
                outstanding += len(asked)
            elif fetch.hoped_at is not None and now < fetch.hoped_at + patience_s:
                outstanding += WINDOW
        if is_overdue:
            self._in_vain += 1
        for digest, fetch in self._fetches.items():
            if fetch.assembly is None:
                if not outstanding and fetch.hoped_at is None:
                    fetch.hoped_at = now
                    outstanding += WINDOW
                    found.append((digest, tuple(range(WINDOW))))
                if now >= fetch.ask_manifest_at:
                    fetch.ask_manifest_at = now + fetch.manifest_again_s
                    fetch.manifest_again_s = min(MOST_PATIENCE_S, 2 * fetch.manifest_again_s)
                    found.append((digest, ()))
                continue
            if fetch.doubts >= MOST_DOUBTS:
                fetch.doubts = 0
                found.append((digest, ()))
            if outstanding < WINDOW and not fetch.assembly.is_complete:
                wanted = fetch.assembly.ask(now, WINDOW - outstanding, patience_s)
                outstanding += len(wanted)
                if wanted:
                    found.append((digest, wanted))
        return found

    def ask_anew(self, now: float) -> None:
        """The connection is new: whatever was asked for may be lost."""
        self._trip, self._in_vain = _round_trip(), 0
        for fetch in self._fetches.values():
            fetch.ask_manifest_at = min(fetch.ask_manifest_at, now + MANIFEST_S)
            fetch.manifest_again_s = MANIFEST_AGAIN_S
            fetch.hoped_at = None
            if fetch.assembly is not None:
                fetch.assembly.asked.clear()

    def due(self) -> float | None:
        """When `asks` may next have something to say without anything having come."""
        times = []
        for fetch in self._fetches.values():
            if fetch.assembly is None:
                times.append(fetch.ask_manifest_at)
            elif fetch.assembly.asked:
                times.append(min(fetch.assembly.asked.values()) + self._patience_s())
        return min(times, default=None)
