"""What a controller believes of keys and floors: from its folder, from the broker and from announcements."""

from __future__ import annotations

from pathlib import Path

import pytest
from convoy_controller.errors import KeyFileError
from convoy_controller.keys import load_trust, remember, signing_key
from convoy_controller.statements import StatementKeeper
from convoy_schema import codec
from convoy_schema.bundle import load_private_key
from convoy_schema.errors import DecodeError
from convoy_schema.signing import Floor, SignedFloor, SigningKey, Statements, set_floor
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Home:
    """A key folder, and who keeps what is said of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "keys"
        signing_key(self.folder)
        self.keeper = StatementKeeper(self.folder, "site")
        self.told: list[Statements] = []

    def floor(self, lowest: int) -> SignedFloor:
        return set_floor(Floor("m", lowest, 1), SigningKey(load_private_key(self.folder / "root.pem")))

    def poll(self) -> bool:
        """As the controller does; whether models are to be judged again."""
        merged = self.keeper.exchange(self.keeper.trust.statements)
        changed = merged is not None and self.keeper.absorb(merged)
        self.keeper.tell(lambda said: self.told.append(said) is None)
        return changed


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_what_is_believed_is_told_once_until_somebody_else_had_the_last_word(home: Home) -> None:
    home.poll()
    home.poll()
    assert home.told == [load_trust(home.folder).statements]
    home.keeper.hear(codec.encode(home.told[0]))  # its own words, come back
    home.poll()
    assert len(home.told) == 1
    home.keeper.hear(codec.encode(Statements()))
    home.poll()
    assert home.told == [home.told[0]] * 2
    home.keeper.forget_told()
    home.poll()
    assert len(home.told) == 3


def test_what_could_not_be_sent_is_told_again(home: Home) -> None:
    home.keeper.tell(lambda said: False)
    home.poll()
    assert len(home.told) == 1


def test_a_floor_that_its_owner_sets_is_found_and_told(home: Home) -> None:
    assert not home.poll()
    remember(home.folder, Statements((), (home.floor(3),)))
    assert home.poll()
    assert home.keeper.trust.lowest("m") == 3
    assert home.told[-1].floors == (home.floor(3),)
    assert not home.poll()


def test_what_the_broker_retains_outlives_a_folder_from_a_backup(home: Home) -> None:
    home.poll()
    assert home.keeper.hear(codec.encode(Statements((), (home.floor(5),)))) == ()
    assert load_trust(home.folder).lowest("m") == 0
    assert home.poll()
    assert load_trust(home.folder).lowest("m") == 5
    # Nor does an older word from either side lower it.
    (home.folder / "trust").unlink()
    home.keeper.hear(codec.encode(Statements((), (home.floor(2),))))
    home.poll()
    assert load_trust(home.folder).lowest("m") == 5
    assert home.told[-1].floors == (home.floor(5),)


def test_what_is_no_truth_is_refused_and_contradicted(home: Home) -> None:
    home.poll()
    forged = set_floor(Floor("m", 9, 1), SigningKey(Ed25519PrivateKey.generate()))
    (refusal,) = home.keeper.hear(codec.encode(Statements((), (forged,))))
    assert refusal.code == "signature"
    with pytest.raises(DecodeError):
        home.keeper.hear(b"junk")
    home.poll()
    assert home.keeper.trust.lowest("m") == 0
    assert len(home.told) == 2


def test_a_folder_that_cannot_be_read_is_named_and_what_is_believed_stays(home: Home) -> None:
    home.keeper.hear(codec.encode(Statements((), (home.floor(5),))))
    (home.folder / "trust").write_bytes(b"junk")
    with pytest.raises(KeyFileError, match="the controller learns again"):
        home.keeper.exchange(home.keeper.trust.statements)
    assert home.keeper.trust.lowest("m") == 5
    (home.folder / "trust").unlink()
    assert home.poll()
    assert load_trust(home.folder).lowest("m") == 5
