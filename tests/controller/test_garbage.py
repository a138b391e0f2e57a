"""The core that decides what is cleared: nothing that is needed ever is, and all else is in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_controller.database.records import ModelUse, References
from convoy_controller.garbage import Facts, Finding, FindingKind, Garbage, Patience, Verdict
from convoy_schema.names import Generation, digest_of
from convoy_schema.topics import Topics
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

TOPICS = Topics("test")
PATIENCE = Patience(settled_s=10.0, removed_s=2.0, unused_s=600.0, gateway_s=1000.0, gateway_asked_s=60.0)
SHARED = digest_of(b"shared")


def model(version: str, *own: str) -> ModelUse:
    artifacts = {SHARED, *(digest_of(name.encode()) for name in own)}
    return ModelUse("net", version, digest_of(f"bundle {version}".encode()), frozenset(artifacts))


ONE, TWO = model("1", "a", "b"), model("2", "c")


class Bench:
    """A core that is in charge since 0, and a broker that retains what it is told to."""

    def __init__(self) -> None:
        self.garbage = Garbage(PATIENCE)
        self.now = 0.0
        self.garbage.governs(True, 0.0)

    def hears(self, *topics: str, size: int = 100) -> None:
        for topic in topics:
            self.garbage.heard(topic, TOPICS.parse(topic), size)

    def announced(self, *models: ModelUse) -> None:
        for each in models:
            self.hears(TOPICS.model(each.name, each.version), *map(TOPICS.manifest, each.artifacts))

    def survey(self, facts: Facts, at: float, asked: bool = False, orphans: bool = False) -> dict[str, Finding]:
        self.now = at
        findings = self.garbage.survey(facts, at, asked=asked, orphans=orphans)
        return {finding.name: finding for finding in findings}

    def cleared(self, facts: Facts, at: float, asked: bool = False, orphans: bool = False) -> set[str]:
        found = self.survey(facts, at, asked, orphans)
        return {name for name, finding in found.items() if finding.verdict is Verdict.CLEAR}


def known(*catalogue: ModelUse, removed: tuple[ModelUse, ...] = (), **more: object) -> Facts:
    return Facts(replace(References(catalogue=catalogue, removed=removed), **more))  # type: ignore[arg-type]


def own(model: ModelUse) -> set[str]:
    return {TOPICS.manifest(digest) for digest in model.artifacts - {SHARED}}


def test_a_removed_version_goes_and_what_it_shares_stays() -> None:
    bench = Bench()
    bench.announced(ONE, TWO)
    facts = known(TWO, removed=(ONE,), intended=frozenset({("net", "2")}))
    assert bench.cleared(facts, 20) == set(), "it may be on its way back"
    assert bench.cleared(facts, 22) == {TOPICS.model("net", "1"), *own(ONE)}


def test_a_version_in_the_catalogue_that_nobody_uses_goes_late_or_when_its_owner_asks() -> None:
    bench = Bench()
    bench.announced(ONE)
    assert bench.cleared(known(ONE), 20) == set()
    (waits,) = {finding.due_in_s for finding in bench.survey(known(ONE), 120).values()}
    assert waits == 500
    everything = set(bench.garbage.topics)
    assert bench.cleared(known(ONE), 120, asked=True) == everything
    assert bench.cleared(known(ONE), 620) == everything
    # Wanted for a moment: the time begins anew.
    bench.survey(known(ONE, intended=frozenset({("net", "1")})), 621)
    assert bench.cleared(known(ONE), 1220) == set()


@pytest.mark.parametrize(
    "use",
    [
        {"in_force": frozenset({ONE.digest})},
        {"intended": frozenset({("net", "1")})},
        {"rollback": frozenset({ONE.digest})},
    ],
)
def test_what_is_in_force_wanted_or_served_before_stays(use: dict[str, object]) -> None:
    bench = Bench()
    bench.announced(ONE)
    for at in (20, 5000):
        assert bench.survey(known(ONE, **use), at, asked=True) == {}


def test_what_is_decided_but_not_written_yet_counts() -> None:
    bench = Bench()
    bench.announced(ONE)
    for live in ({"in_force": frozenset({ONE.digest})}, {"intended": frozenset({("net", "1")})}):
        facts = replace(known(ONE), **live)  # type: ignore[arg-type]
        bench.survey(facts, 20)
        assert bench.survey(facts, 5000, asked=True) == {}


def test_a_removed_version_that_a_board_still_holds_waits_for_it_and_is_no_way_back() -> None:
    bench = Bench()
    bench.announced(ONE)
    held = known(removed=(ONE,), in_force=frozenset({ONE.digest}))
    bench.survey(held, 20)
    assert bench.survey(held, 5000, asked=True) == {}
    former = known(removed=(ONE,), rollback=frozenset({ONE.digest}))
    bench.survey(former, 5001)
    assert TOPICS.model("net", "1") in bench.cleared(former, 5003)


def test_what_no_table_knows_is_never_cleared() -> None:
    bench = Bench()
    bench.announced(ONE)
    bench.hears(*(TOPICS.board("lost", leaf) for leaf in ("state", "capability", "desired", "reported")))
    for at in (20, 1e6):
        found = bench.survey(known(), at, asked=True, orphans=True)
        assert {finding.verdict for finding in found.values()} == {Verdict.UNKNOWN}
    assert TOPICS.board("lost", "state") not in found


def test_a_bundle_in_force_that_no_table_knows_may_need_any_artifact() -> None:
    bench = Bench()
    bench.announced(ONE)
    facts = replace(known(removed=(ONE,), in_force=frozenset({TWO.digest})), blobs=dict.fromkeys(ONE.artifacts, 9))
    bench.survey(facts, 20)
    assert bench.cleared(facts, 5000) == {TOPICS.model("net", "1")}


def test_only_what_was_heard_is_cleared_and_what_is_gone_is_not_cleared_again() -> None:
    bench = Bench()
    facts = known(removed=(ONE,))
    bench.hears(TOPICS.model("net", "1"))
    bench.survey(facts, 20)
    assert bench.cleared(facts, 22) == {TOPICS.model("net", "1")}
    bench.hears(TOPICS.model("net", "1"), size=0)
    assert bench.survey(facts, 60) == {}
    bench.announced(ONE)
    bench.garbage.lost()
    assert bench.survey(facts, 120) == {}
    assert bench.garbage.topics == {}


def test_nothing_is_cleared_before_it_has_settled_in_charge_nor_while_it_stands_by() -> None:
    bench = Bench()
    bench.announced(ONE)
    facts = known(removed=(ONE,))
    bench.survey(facts, 1)
    assert bench.cleared(facts, 9.9) == set()
    assert bench.cleared(facts, 10) != set()
    assert not bench.garbage.governs(False, 11)
    assert bench.cleared(facts, 500) == set(), "it stands by"
    assert not bench.garbage.governs(True, 501)
    assert bench.cleared(facts, 510.9) == set(), "and has just taken over"
    assert bench.garbage.governs(True, 511)
    assert bench.cleared(facts, 511) != set()


@pytest.mark.parametrize("doubt", ["presence", "rows"])
def test_nothing_is_cleared_while_something_cannot_be_known(doubt: str) -> None:
    bench = Bench()
    bench.announced(ONE)
    certain = known(removed=(ONE,))
    unsure = replace(certain, is_certain=False)
    if doubt == "rows":
        unsure = known(removed=(ONE,), is_whole=False)
    bench.survey(unsure, 20)
    assert bench.cleared(unsure, 5000, asked=True) == set()
    assert bench.cleared(certain, 5001) != set()


def test_a_removed_board_leaves_nothing_unless_it_is_there_or_counted_on() -> None:
    bench = Bench()
    topics = {TOPICS.board("old", leaf) for leaf in ("state", "capability", "desired", "reported")}
    bench.hears(*topics, TOPICS.board("new", "state"))
    facts = known(forgotten=frozenset({"old"}))
    busy = replace(facts, busy=frozenset({"old"}))
    bench.survey(busy, 20)
    assert bench.cleared(busy, 5000) == set()
    bench.survey(facts, 5001)
    assert bench.cleared(facts, 5003) == topics


def test_what_is_not_retained_is_not_remembered() -> None:
    bench = Bench()
    bench.hears(TOPICS.board("b", "pulse"), TOPICS.board("b", "want"), TOPICS.block(SHARED, 1))
    bench.hears(TOPICS.controller_state(), TOPICS.frame("b", "c", "net", Generation(1, 1), 1))
    assert bench.garbage.topics == {}


def test_a_gateway_goes_when_it_has_been_away_for_long() -> None:
    bench = Bench()
    topics = {TOPICS.gateway("gate", leaf) for leaf in ("state", "desired", "reported")}
    bench.hears(*topics)
    here = replace(known(), gateways=frozenset({"gate"}))
    assert bench.survey(here, 20) == {}
    bench.survey(known(), 30)
    assert bench.cleared(known(), 89, asked=True) == set()
    assert bench.cleared(known(), 90, asked=True) == topics
    assert bench.cleared(known(), 1029) == set()
    assert bench.cleared(known(), 1030) == topics


def test_files_of_removed_versions_go_and_orphans_only_when_asked_for() -> None:
    bench = Bench()
    orphan = digest_of(b"orphan")
    files = dict.fromkeys([*ONE.artifacts, *TWO.artifacts, orphan], 10)
    facts = replace(known(TWO, removed=(ONE,)), blobs=files)
    bench.survey(facts, 20)
    found = bench.survey(facts, 22)
    due = {name for name, finding in found.items() if finding.verdict is Verdict.CLEAR}
    assert due == ONE.artifacts - {SHARED}
    assert found[orphan].verdict is Verdict.UNKNOWN
    assert {finding.kind for finding in found.values()} == {FindingKind.BLOB}
    assert orphan in bench.cleared(facts, 23, asked=True, orphans=True)
    # An announcement of a model that no table knows: the orphans may be its artifacts.
    bench.hears(TOPICS.model("strange", "1"))
    assert orphan not in bench.cleared(facts, 24, asked=True, orphans=True)


def test_a_version_published_again_under_its_name_is_not_the_removed_one() -> None:
    bench = Bench()
    bench.announced(ONE)
    again = replace(ONE, digest=digest_of(b"again"), artifacts=frozenset({SHARED, digest_of(b"d")}))
    facts = known(again, removed=(ONE,), intended=frozenset({("net", "1")}))
    bench.survey(facts, 20)
    assert bench.cleared(facts, 22) == own(ONE)


# Whatever happens ----------------------------------------------------------------------------------------------------

VERSIONS = ("1", "2", "3")
MODELS = {"1": model("1", "a", "b"), "2": model("2", "b", "c"), "3": model("3", "d")}
PLACES = ("east", "west")


class Fleet(RuleBasedStateMachine):
    """Imports, deployments, removals, boards that come and go, restarts of everything, lost tables; and the core."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.garbage = Garbage(PATIENCE)
        self.in_charge = True
        self.garbage.governs(True, self.now)
        self.broker: set[str] = set()
        self.files: set[str] = set()
        self.catalogue: set[str] = set()
        self.removed: set[str] = set()
        self.wanted: dict[str, str] = {}
        self.former: dict[str, str] = {}
        self.held: dict[str, set[str]] = {place: set() for place in PLACES}
        self.is_lost = False

    # What the fleet needs, told apart from how the core is told

    def versions_needed(self) -> set[str]:
        used = set(self.wanted.values()) | set.union(*self.held.values())
        return used | {version for version in self.former.values() if version in self.catalogue}

    def facts(self) -> Facts:
        digests = {version: MODELS[version].digest for version in VERSIONS}
        return Facts(
            References(
                catalogue=tuple(MODELS[v] for v in sorted(self.catalogue)),
                removed=tuple(MODELS[v] for v in sorted(self.removed)),
                in_force=frozenset(digests[v] for held in self.held.values() for v in held),
                rollback=frozenset(digests[v] for v in self.former.values()),
                intended=frozenset(("net", v) for v in self.wanted.values()),
            ),
            blobs=dict.fromkeys(self.files, 1),
        )

    def retain(self, topic: str) -> None:
        self.broker.add(topic)
        self.garbage.heard(topic, TOPICS.parse(topic), 5)

    @rule(seconds=st.sampled_from([0.5, 2.0, 11.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(version=st.sampled_from(VERSIONS))
    def imports(self, version: str) -> None:
        self.catalogue.add(version)
        self.removed.discard(version)
        self.files |= MODELS[version].artifacts

    @precondition(lambda self: self.in_charge and self.catalogue and not self.is_lost)
    @rule(name=st.sampled_from(["x", "y"]), place=st.sampled_from(PLACES), data=st.data())
    def deploys(self, name: str, place: str, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.catalogue)))
        before = self.wanted.get(name)
        if before not in (None, version):
            self.former[name] = str(before)
        self.wanted[name] = version
        self.held[place].add(version)
        for topic in (TOPICS.model("net", version), *map(TOPICS.manifest, MODELS[version].artifacts)):
            self.retain(topic)

    @rule(name=st.sampled_from(["x", "y"]))
    def undeploys(self, name: str) -> None:
        self.wanted.pop(name, None)
        self.former.pop(name, None)

    @rule(place=st.sampled_from(PLACES))
    def board_is_told(self, place: str) -> None:
        """It drops what no deployment wants any more; until then, away or not, it holds it."""
        self.held[place] &= set(self.wanted.values())

    @rule(version=st.sampled_from(VERSIONS))
    def removes(self, version: str) -> None:
        if version in self.catalogue and version not in self.wanted.values():
            self.catalogue.discard(version)
            self.removed.add(version)

    @rule()
    def controller_restarts(self) -> None:
        self.garbage = Garbage(PATIENCE)
        self.in_charge = False
        for topic in self.broker:
            self.garbage.heard(topic, TOPICS.parse(topic), 5)

    @rule(in_charge=st.booleans())
    def leads_or_stands_by(self, in_charge: bool) -> None:
        self.in_charge = in_charge
        self.garbage.governs(in_charge, self.now)

    @rule()
    def broker_forgets(self) -> None:
        self.broker.clear()
        self.garbage.lost()

    @precondition(lambda self: len(self.broker) > 2)
    @rule()
    def database_is_lost(self) -> None:
        """Everything the tables knew, removals too; boards still hold what they hold, and say so."""
        self.is_lost = True
        self.catalogue.clear()
        self.removed.clear()
        self.wanted.clear()
        self.former.clear()

    @rule(asked=st.booleans(), seconds=st.sampled_from([0.5, 3.0, 11.0, 700.0]))
    def surveys_twice(self, asked: bool, seconds: float) -> None:
        """What is not needed must have been so for a while: a second look decides."""
        self.surveys(asked)
        self.now += seconds
        self.surveys(asked)

    def surveys(self, asked: bool) -> None:
        known, needed = set(self.catalogue | self.removed), self.versions_needed()
        settled = self.garbage.governs(self.in_charge, self.now)
        for finding in self.garbage.survey(self.facts(), self.now, asked=asked):
            if finding.verdict is not Verdict.CLEAR:
                continue
            assert self.in_charge
            assert settled
            self.clears(finding, known, needed)

    def clears(self, finding: Finding, known: set[str], needed: set[str]) -> None:
        named = {v for v in VERSIONS if finding.name == TOPICS.model("net", v)}
        digest = finding.name.rsplit("/", 1)[-1]
        named |= {v for v in VERSIONS if digest in MODELS[v].artifacts}
        assert not named & needed, "something needed was cleared"
        assert named & known, "something that no table knows was cleared"
        if finding.kind is FindingKind.TOPIC:
            assert finding.name in self.broker
            self.broker.discard(finding.name)
            self.garbage.heard(finding.name, TOPICS.parse(finding.name), 0)
        else:
            assert not named & self.catalogue
            self.files.discard(finding.name)

    @invariant()
    def what_is_published_is_on_disk(self) -> None:
        for version in self.catalogue:
            assert MODELS[version].artifacts <= self.files

    def teardown(self) -> None:
        """Left alone for long enough, nothing stays but what is needed or not known."""
        self.in_charge = True
        for _ in range(4):
            self.garbage.governs(True, self.now)
            self.surveys(asked=False)
            self.now += 700.0
        known, needed = self.catalogue | self.removed, self.versions_needed()
        if not needed <= known:
            return  # what is held and not known may be made of anything
        kept = set[str]().union(*(MODELS[v].artifacts for v in needed))
        for version in known - needed:
            assert TOPICS.model("net", version) not in self.broker
            assert not {TOPICS.manifest(d) for d in MODELS[version].artifacts - kept} & self.broker
        published = set[str]().union(*(MODELS[v].artifacts for v in self.catalogue))
        for version in self.removed - needed:
            assert not (MODELS[version].artifacts - kept - published) & self.files


Fleet.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestWhateverHappens = Fleet.TestCase
