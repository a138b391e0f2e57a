"""Who is in charge: one wins, the other says why it stands by, and takes over when it must."""

import pytest
from convoy_controller.leadership import LISTEN_S, SILENCE_S, Leadership, Standing
from convoy_schema.messages.boards import Presence
from convoy_schema.messages.gateways import ControllerState


def says(session: int, epoch: int, presence: Presence = Presence.ONLINE) -> ControllerState:
    return ControllerState(presence, session, epoch)


def listening(session: int = 5) -> Leadership:
    leadership = Leadership(session)
    leadership.connected(0.0)
    return leadership


def in_charge(epoch: int = 1, session: int = 5) -> Leadership:
    leadership = listening(session)
    leadership.tick(LISTEN_S)
    leadership.epoch = epoch
    return leadership


def test_alone_it_takes_charge_after_listening() -> None:
    leadership = listening()
    assert leadership.tick(LISTEN_S / 2) == []
    (stands,) = leadership.tick(LISTEN_S)
    assert stands.standing is Standing.IN_CHARGE
    assert leadership.is_clean


def test_one_that_speaks_is_not_disturbed() -> None:
    leadership = listening()
    (stands,) = leadership.heard(says(9, 3), False, 0.5)
    assert stands.standing is Standing.STANDBY
    assert "9" in stands.reason
    assert "epoch 3" in stands.reason
    for second in range(1, 20):
        leadership.heard(says(9, 3), False, float(second))
        assert leadership.tick(second + 0.5) == []


def test_a_retained_word_alone_stops_nobody_but_breaks_continuity() -> None:
    leadership = listening()
    assert leadership.heard(says(9, 3), True, 0.1) == []
    assert leadership.tick(LISTEN_S)[0].standing is Standing.IN_CHARGE
    assert not leadership.is_clean


def test_a_goodbye_keeps_the_epoch() -> None:
    leadership = listening()
    leadership.heard(says(9, 3, Presence.OFFLINE), True, 0.1)
    leadership.tick(LISTEN_S)
    assert leadership.is_clean


@pytest.mark.parametrize("retained", [True, False])
def test_a_will_is_no_goodbye(retained: bool) -> None:
    leadership = listening()
    leadership.heard(says(9, 0, Presence.OFFLINE), retained, 0.1)
    assert leadership.tick(LISTEN_S)[0].standing is Standing.IN_CHARGE
    assert not leadership.is_clean


def test_standby_takes_over_from_silence_in_a_new_epoch() -> None:
    leadership = listening()
    leadership.heard(says(9, 3), False, 0.5)
    assert leadership.tick(0.5 + SILENCE_S) == []
    (stands,) = leadership.tick(0.6 + SILENCE_S)
    assert stands.standing is Standing.IN_CHARGE
    assert not leadership.is_clean


def test_standby_takes_over_at_once_from_a_goodbye() -> None:
    leadership = listening()
    leadership.heard(says(9, 3), False, 0.5)
    leadership.heard(says(9, 3, Presence.OFFLINE), False, 0.7)
    assert leadership.tick(0.7)[0].standing is Standing.IN_CHARGE
    assert leadership.is_clean


def test_a_higher_epoch_dethrones_and_a_lower_one_does_not() -> None:
    leadership = in_charge(epoch=4)
    assert leadership.heard(says(9, 3), False, 5.0) == []
    assert leadership.heard(says(1, 5), False, 6.0)[0].standing is Standing.STANDBY


def test_of_two_in_one_epoch_exactly_one_stands_back() -> None:
    low, high = in_charge(epoch=2, session=5), in_charge(epoch=2, session=6)
    assert low.heard(says(6, 2), False, 5.0)[0].standing is Standing.STANDBY
    assert high.heard(says(5, 2), False, 5.0) == []


def test_a_lost_connection_suspends_a_reign_and_it_goes_on() -> None:
    leadership = in_charge(epoch=2)
    leadership.disconnected()
    assert leadership.tick(100.0) == []
    leadership.connected(200.0)
    assert leadership.tick(200.0 + LISTEN_S)[0].standing is Standing.IN_CHARGE
    assert leadership.epoch == 2


def test_after_a_lost_connection_a_successor_is_met_with_respect() -> None:
    leadership = in_charge(epoch=2)
    leadership.disconnected()
    leadership.connected(200.0)
    assert leadership.heard(says(9, 3), False, 200.4)[0].standing is Standing.STANDBY
