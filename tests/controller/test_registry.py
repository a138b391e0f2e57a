"""Presence: what counts as fresh, as old, as gone."""

from dataclasses import replace

from convoy_controller.database.records import BoardPresence
from convoy_controller.registry import PULSE_GRACE_S, UNANSWERED_S, PresenceChanged, Registry, SessionTaken
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Capability,
    Phase,
    Presence,
    Published,
    Pulse,
    Reported,
    StagePulse,
)
from convoy_schema.messages.gateways import GatewayState
from convoy_schema.names import Generation


def pulse(session: int, interval_ms: int = 1000) -> Pulse:
    return Pulse(session, 1, 1, interval_ms, 0, 0, (), Published())


def capability(session: int) -> Capability:
    return Capability(session, "xc7z020", "emulated", ("layers",), (), 100_000_000, 2**28, 64, "test")


def state(session: int, presence: Presence = Presence.ONLINE) -> BoardState:
    return BoardState(presence, session)


def test_retained_online_proves_nothing() -> None:
    registry = Registry()
    registry.link_up(0.0)
    assert registry.board_state("b", state(7), True, 0.0) == []
    assert registry.board("b").presence is BoardPresence.UNKNOWN


def test_a_fresh_word_is_online_and_said_once() -> None:
    registry = Registry()
    registry.link_up(0.0)
    assert [type(c) for c in registry.board_state("b", state(7), False, 0.0)] == [PresenceChanged]
    assert registry.pulse("b", pulse(7), 0.5) == []
    assert registry.board("b").presence is BoardPresence.ONLINE


def test_the_death_of_an_older_session_is_ignored() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.board_state("b", state(8), False, 0.0)
    assert registry.board_state("b", state(7, Presence.OFFLINE), False, 0.1) == []
    assert registry.board("b").presence is BoardPresence.ONLINE


def test_words_of_a_dead_session_do_not_wake_it() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(7), 0.0)
    registry.board_state("b", state(7, Presence.OFFLINE), False, 0.1)
    assert registry.pulse("b", pulse(7), 0.2) == []
    assert registry.board("b").presence is BoardPresence.OFFLINE
    registry.pulse("b", pulse(8), 0.3)
    assert registry.board("b").presence is BoardPresence.ONLINE


def test_a_board_that_outlived_its_connection_is_back_when_it_says_so() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(7), 0.0)
    registry.board_state("b", state(7, Presence.OFFLINE), False, 0.1)
    assert registry.board_state("b", state(7), True, 0.2) == []  # what the broker kept proves nothing
    registry.board_state("b", state(7), False, 0.3)
    assert registry.board("b").presence is BoardPresence.ONLINE
    # Of a session that another one has replaced it is no sign of life.
    registry.pulse("b", pulse(8), 0.4)
    assert registry.board_state("b", state(7), False, 0.5) == []


def test_three_missed_pulses_are_offline_and_not_earlier() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(7), 10.0)
    assert registry.tick(13.0 + PULSE_GRACE_S) == []
    (change,) = registry.tick(13.1 + PULSE_GRACE_S)
    assert isinstance(change, PresenceChanged)
    assert change.presence is BoardPresence.OFFLINE
    assert "3 pulses" in change.reason


def test_an_idle_board_is_given_its_own_interval() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(7, 30_000), 0.0)
    assert registry.tick(60.0) == []
    assert len(registry.tick(91.0)) == 1


def test_a_new_session_while_the_old_one_lives_is_told() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(7), 0.0)
    changes = registry.pulse("b", pulse(8), 0.1)
    assert SessionTaken("b", 7, 8) in changes
    assert registry.pulse("b", pulse(7), 0.2) == []  # the old one does not take it back


def test_after_our_own_loss_everyone_is_unknown_and_who_stays_silent_is_gone() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(7), 0.0)
    registry.gateway_state("g", GatewayState(Presence.ONLINE, 1), False, 0.0)
    assert {c.presence for c in registry.link_lost() if isinstance(c, PresenceChanged)} == {BoardPresence.UNKNOWN}
    assert registry.tick(100.0) == []  # without a connection silence says nothing
    registry.link_up(100.0)
    registry.pulse("b", pulse(7), 104.0)
    assert [c.name for c in registry.tick(100.1 + UNANSWERED_S) if isinstance(c, PresenceChanged)] == ["g"]


def test_whoever_is_first_heard_of_later_must_answer_too() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("a", pulse(7, interval_ms=60_000), 0.0)
    assert registry.tick(UNANSWERED_S + 1) == []
    registry.board_state("b", state(7), True, UNANSWERED_S + 1)
    registry.gateway("g")
    assert [c.name for c in registry.tick(UNANSWERED_S + 2) if isinstance(c, PresenceChanged)] == ["b", "g"]
    assert registry.board("b").presence is BoardPresence.OFFLINE


def reported(revision: int, *phases: Phase, session: int = 7, blocked: str = "") -> Reported:
    assignments = tuple(AssignmentReport(f"d{i}", Generation(1, 1), phase) for i, phase in enumerate(phases))
    return Reported(session, 1, revision, "", assignments, (), 0, 1, blocked)


def test_a_board_is_settled_since_it_first_was_ready_at_that_revision() -> None:
    registry = Registry()
    registry.link_up(0.0)
    since = []
    for now, words in enumerate(
        (
            reported(1, Phase.FETCHING),
            reported(1, Phase.READY),
            reported(1, Phase.READY),
            reported(2, Phase.READY, Phase.LOADING),
            reported(2, Phase.READY, Phase.READY),
            reported(3, Phase.READY),
            reported(3, Phase.READY, blocked="the store is full"),
            reported(3, Phase.READY, session=8),
        )
    ):
        registry.board_reported("b", words, False, float(now))
        since.append(registry.board("b").settled_since)
    assert since == [None, 1.0, 1.0, None, 4.0, 5.0, None, 7.0]
    registry.pulse("b", pulse(9), 8.0)
    assert registry.board("b").settled_since is None


def test_losses_are_counted_however_they_are_noticed() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(7), 0.0)
    registry.tick(100.0)  # silence
    registry.pulse("b", pulse(7), 101.0)
    registry.board_state("b", state(7, Presence.OFFLINE), False, 102.0)  # its will
    registry.pulse("b", pulse(8), 103.0)
    registry.pulse("b", pulse(9), 104.0)  # replaced
    assert registry.board("b").losses == 3
    registry.link_lost()  # ours, not the board's
    assert registry.board("b").losses == 3


def test_a_loss_begins_with_the_last_words_or_with_our_own_connection() -> None:
    registry = Registry()
    registry.link_up(5.0)
    registry.pulse("b", pulse(7), 8.0)
    assert registry.lost_since("b") == 8.0
    assert registry.lost_since("never-heard") == 5.0


def test_a_board_that_speaks_faster_from_now_on_is_missed_sooner() -> None:
    """Also when nothing was due for long: the others speak every 30 s."""
    registry = Registry()
    registry.link_up(0.0)
    for name in ("slow", "fast"):
        registry.pulse(name, pulse(1, 30_000), 0.0)
    assert registry.tick(1.0) == []
    registry.pulse("fast", pulse(1), 2.0)
    assert registry.tick(5.4) == []
    assert [change.name for change in registry.tick(5.6)] == ["fast"]
    assert registry.tick(90.4) == []
    assert [change.name for change in registry.tick(90.6)] == ["slow"]


def live(*generations: Generation, revision: int = 1) -> Pulse:
    stages = tuple(StagePulse("d0", generation, 0, 0, 0, 4, 0, 0) for generation in generations)
    return replace(pulse(7), revision=revision, stages=stages)


def missed(registry: Registry, words: Pulse, count: int) -> list[int]:
    """At which of so many equal pulses a report is missed, counted from 1."""
    found = []
    for number in range(1, count + 1):
        registry.pulse("b", words, float(number))
        if registry.has_missed_report("b"):
            found.append(number)
    return found


def described() -> Registry:
    """A registry that knows what board `b` is."""
    registry = Registry()
    registry.link_up(0.0)
    registry.capability("b", capability(7), False, 0.0)
    return registry


def test_what_a_board_is_is_missed_as_a_report_is() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.board_reported("b", reported(1, Phase.READY), False, 0.0)
    assert missed(registry, live(Generation(1, 1)), 5) == [2, 4]
    registry.capability("b", capability(7), False, 6.0)
    assert missed(registry, live(Generation(1, 1)), 4) == []


def test_a_report_that_got_lost_is_missed_at_the_second_pulse_and_ever_more_rarely() -> None:
    """Seen in a fleet in virtual time: a lost `ready` kept a generation from serving for 60 s, and blamed the board."""
    registry = described()
    registry.board_reported("b", reported(1, Phase.TESTING), False, 0.0)
    assert missed(registry, live(Generation(1, 1)), 9) == [2, 4, 8]
    registry.board_reported("b", reported(1, Phase.READY), False, 9.0)
    assert missed(registry, live(Generation(1, 1)), 4) == []


def test_a_pulse_may_overtake_the_report_that_it_is_like() -> None:
    registry = described()
    registry.board_reported("b", reported(1, Phase.READY), False, 0.0)
    assert missed(registry, live(Generation(1, 1), revision=2), 1) == []
    registry.board_reported("b", reported(2, Phase.READY), False, 1.0)
    assert missed(registry, live(Generation(1, 1), revision=2), 3) == []


def test_what_a_board_serves_no_more_and_what_it_never_reported_is_missed_too() -> None:
    registry = described()
    assert missed(registry, pulse(7), 2) == [2]
    registry.board_reported("b", reported(1, Phase.READY), False, 2.0)
    assert missed(registry, live(), 2) == [2]
