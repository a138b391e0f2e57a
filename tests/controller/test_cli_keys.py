"""`convoy key`: what it makes, exchanges and revokes, what it says, and what it refuses."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from convoy_bitstreams import Catalogue, catalogue
from convoy_controller.cli import app
from convoy_controller.cli.keys import PASSPHRASE_VARIABLE
from convoy_controller.database import publications
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.models import ModelRow
from convoy_controller.errors import KeyFileError
from convoy_controller.keys import KeyFolder, load_trust, read_signing, signing_key, usable_signing_key
from convoy_schema import codec
from convoy_schema.bundle import Method, ModelAnnouncement, load_public_key, private_pem, verify
from convoy_schema.errors import DelegationSupersededError, FloorError, SignatureError
from convoy_schema.messages.desired import Intent
from convoy_schema.signing import Purpose, SigningKey, Statements, fingerprint
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from database_samples import publish
from typer.testing import CliRunner

RUNNER = CliRunner()


def few_images() -> Catalogue:
    shells = tuple(image for image in catalogue().shells if image.shell == "layers")
    return replace(catalogue(), shells=shells[:1], modules=())


class Keys:
    """A home, and `convoy key` in it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = KeyFolder(self.home / "keys")

    def run(self, *arguments: object, code: int = 0) -> str:
        done = RUNNER.invoke(app, ["key", *map(str, arguments), "--home", str(self.home)], env={"CONVOY_DATABASE": ""})
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    def read(self, *arguments: object) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def database(self) -> Database:
        self.home.mkdir(exist_ok=True)
        return open_database(f"sqlite:///{self.home / 'convoy.db'}")

    def publish(self, *versions: str) -> list[ModelAnnouncement]:
        database = self.database()
        made = [
            publish(database, self.home, version=version, seed=number, images=few_images)
            for number, version in enumerate(versions)
        ]
        database.close()
        return made

    def published(self, version: str) -> ModelAnnouncement:
        database = self.database()
        found = publications.find_model(database, "tiny", version).announcement
        database.close()
        return found

    def board(self) -> Trust:
        """A board that was given `trusted.pem`, and has heard nothing."""
        return Trust(load_public_key(self.folder.trusted), "site")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_a_root_and_a_first_key_are_made_and_shown(keys: Keys) -> None:
    made = keys.read("init", "--days", 30, "--site", "north", "--purpose", "floor")
    assert (made["serial"], made["purposes"], made["site"], made["state"]) == (1, ["bundle", "floor"], "north", "good")
    assert made["not_after"] - made["signed_at"] == 30 * 24 * 3600
    for path in (keys.folder.root, keys.folder.signing):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shown = keys.read("show")
    assert shown["signing"] == made
    assert (shown["root_is_here"], shown["waiting"], shown["floors"]) == (True, None, {})
    assert shown["root"] == fingerprint(load_public_key(keys.folder.trusted))
    assert "delegation 1 for bundle, floor at site north, until 20" in keys.run("show")
    assert "there already" in keys.run("init", code=1)


def test_a_fleet_that_begins_without_ceremony_has_the_same(keys: Keys) -> None:
    assert "`convoy key init` makes them" in keys.run("show", code=3)
    signing_key(keys.folder.path)
    assert (keys.read("show")["signing"]["serial"], keys.read("show")["root_is_here"]) == (1, True)


def test_the_root_stays_elsewhere_under_its_passphrase(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = tmp_path / "stick"
    assert "nobody to ask" in keys.run("init", "--root", stick, "--passphrase", code=1)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "open sesame")
    keys.run("init", "--root", stick, "--passphrase")
    assert b"ENCRYPTED" in (stick / "root.pem").read_bytes()
    assert not keys.folder.root.exists()
    assert keys.read("show")["root_is_here"] is False
    (announced,) = keys.publish("1")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    assert "cannot be read" in keys.run("delegate", "--root", stick, code=1)
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    assert PASSPHRASE_VARIABLE in keys.run("delegate", "--root", stick, code=1)
    assert "there is no root.pem" in keys.run("delegate", code=3)
    assert "there is no root.pem" in keys.run("rotate", code=3)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "open sesame")
    assert keys.read("delegate", "--root", stick)["serial"] == 2
    # From here on the stick may be in a drawer.
    shutil.move(stick, tmp_path / "drawer")
    assert keys.read("show")["waiting"]["serial"] == 2
    verify(announced, load_trust(keys.folder.path))  # what only waits revokes nothing
    assert keys.read("rotate")["models"] == ["tiny 1"]
    assert (keys.read("show")["signing"]["serial"], keys.read("show")["waiting"]) == (2, None)


def test_a_rotation_signs_everything_anew_and_no_digest_changes(keys: Keys) -> None:
    keys.run("init", "--purpose", "floor", "--site", "site")
    before = keys.publish("1", "2")
    old = signing_key(keys.folder.path)
    assert keys.read("rotate") == {"serial": 2, "models": ["tiny 1", "tiny 2"], "left_out": [], "floors": []}
    signing = keys.read("show")["signing"]
    assert (signing["purposes"], signing["site"]) == (["bundle", "floor"], "site")
    board = keys.board()
    for was, version in zip(before, ("1", "2"), strict=True):
        now = keys.published(version)
        assert (now.digest, now.bundle, now.topology) == (was.digest, was.bundle, was.topology)
        assert now.signature != was.signature
        assert now.delegation is not None
        board = board.with_delegation(now.delegation)
        verify(now, board)
        with pytest.raises(DelegationSupersededError):
            verify(was, board)
    with pytest.raises(DelegationSupersededError):
        load_trust(keys.folder.path).key_of(old.delegation, Purpose.BUNDLE)
    # The same version is the same still, whoever signs it.
    assert keys.publish("1")[0] == keys.published("1")


def test_a_rotation_is_repeated_without_harm_and_an_old_key_is_not_taken_up_again(keys: Keys, tmp_path: Path) -> None:
    keys.run("init")
    keys.publish("1")
    for name in ("a.pem", "b.pem"):
        keys.run("delegate", "--out", tmp_path / name)
    keys.run("rotate", "--from", tmp_path / "b.pem")
    signed = keys.published("1")
    keys.run("rotate", "--from", tmp_path / "b.pem")
    assert keys.published("1") == signed
    assert "was replaced by delegation 3" in keys.run("rotate", "--from", tmp_path / "a.pem", code=1)
    assert keys.published("1") == signed
    assert "there is no key in" in keys.run("rotate", "--from", tmp_path / "c.pem", code=3)


def test_a_damaged_row_is_not_made_good_by_a_rotation(keys: Keys) -> None:
    keys.run("init")
    good, bad = keys.publish("1", "2")
    database = keys.database()
    with database.write() as db:
        row = db.get(ModelRow, ("tiny", "2"))
        assert row is not None
        row.announcement = codec.encode(ModelAnnouncement(
            bad.topology, bad.bundle, bytes(64), bad.probe_input, bad.probe_output, bad.delegation
        ))  # fmt: skip
    database.close()
    assert "do not verify: tiny 2" in keys.run("rotate", code=1)
    assert keys.published("2").signature == bytes(64)
    assert keys.published("1") != good


def test_a_replaced_key_signs_no_import(keys: Keys) -> None:
    keys.run("init")
    kept = keys.folder.signing.read_bytes()
    keys.run("rotate")
    usable_signing_key(keys.folder.path)
    keys.folder.signing.write_bytes(kept)  # out of a backup
    with pytest.raises(DelegationSupersededError, match="convoy key rotate"):
        usable_signing_key(keys.folder.path)
    assert keys.read("show")["signing"]["state"] == "replaced"


def test_another_root_is_told_apart(keys: Keys, tmp_path: Path) -> None:
    keys.run("init")
    other = Keys(tmp_path / "other")
    other.run("init")
    assert "boards trust" in keys.run("rotate", "--root", other.folder.path, code=1)
    other.run("delegate", "--out", tmp_path / "foreign.pem")
    assert "one that it did not sign came" in keys.run("rotate", "--from", tmp_path / "foreign.pem", code=1)
    keys.folder.signing.write_bytes((tmp_path / "foreign.pem").read_bytes())
    assert "another root" in str(RUNNER.invoke(app, ["controller", "--home", str(keys.home)]).output)


def test_a_controller_begins_with_a_key_that_was_made_elsewhere(keys: Keys, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    keys.run("init", "--root", stick)
    new = Keys(tmp_path / "new")
    new.folder.path.mkdir(parents=True)
    shutil.copy(stick / "trusted.pem", new.folder.trusted)
    with pytest.raises(KeyFileError, match="its root is kept elsewhere"):
        signing_key(new.folder.path)
    keys.run("delegate", "--root", stick, "--out", tmp_path / "carried.pem")
    assert new.read("rotate", "--from", tmp_path / "carried.pem")["serial"] == 2
    verify(new.publish("1")[0], keys.board())


def test_a_fleet_of_one_key_goes_on_and_keeps_its_boards_when_it_first_rotates(keys: Keys) -> None:
    """As fleets were before there were delegations: the signing key is what boards trust."""
    single = Ed25519PrivateKey.generate()
    keys.folder.path.mkdir(parents=True)
    keys.folder.signing.write_bytes(private_pem(single))
    (old,) = keys.publish("1")
    assert old.delegation is None
    board = keys.board()
    assert fingerprint(board.root) == fingerprint(single.public_key())
    verify(old, board)
    assert keys.read("show")["signing"] is None
    assert "the root itself" in keys.run("show")
    keys.run("rotate")
    new = keys.published("1")
    assert fingerprint(keys.board().root) == fingerprint(board.root)
    verify(new, board)
    assert new.delegation is not None
    assert keys.read("show")["signing"]["serial"] == 1


def test_the_root_is_exported_for_boards_and_moved_off_the_machine(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.run("init")
    assert keys.run("export-root").encode() == keys.folder.trusted.read_bytes()
    keys.run("export-root", "--out", tmp_path / "for-boards.pem")
    assert (tmp_path / "for-boards.pem").read_bytes() == keys.folder.trusted.read_bytes()
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "open sesame")
    keys.run("export-root", "--move", tmp_path / "stick", "--passphrase")
    assert not keys.folder.root.exists()
    assert "there is no root.pem" in keys.run("export-root", "--move", tmp_path / "again", code=3)
    assert keys.read("rotate", "--root", tmp_path / "stick")["serial"] == 2
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    signing_key(keys.folder.path)  # nothing that runs needs the root


def test_a_floor_revokes_what_is_older_and_never_falls(keys: Keys) -> None:
    keys.run("init")
    old, _, new = keys.publish("1", "2", "3")
    assert "no floors" in keys.run("floor", "show")
    made = keys.read("floor", "set", "tiny", "--version", "2")
    assert (made["model"], made["lowest"], made["by"], made["revokes"]) == ("tiny", 2, "the root", ["tiny 1"])
    board, refused = keys.board().learn(load_trust(keys.folder.path).statements)
    assert not refused
    verify(new, board)
    with pytest.raises(FloorError):
        verify(old, board)
    assert "never falls to 1" in keys.run("floor", "set", "tiny", "--serial", 1, code=1)
    assert keys.read("floor", "set", "tiny", "--serial", 2)["lowest"] == 2
    assert keys.read("floor", "set", "--every-model", "--serial", 3)["revokes"] == ["tiny 1", "tiny 2"]
    assert [(each["model"], each["lowest"]) for each in keys.read("floor", "show")] == [(None, 3), ("tiny", 2)]
    assert "every model" in keys.run("floor", "show")
    assert keys.read("show")["floors"] == {"": 3, "tiny": 3}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("tiny",), 2, "say what may still run"),
        (("--serial", 2), 2, "--every-model"),
        (("tiny", "--every-model", "--serial", 2), 2, "--every-model"),
        (("--every-model", "--version", "1"), 2, "say what may still run"),
        (("tiny", "--version", "9"), 3, "no version '9'"),
        (("huge", "--serial", 2), 3, "no model 'huge'"),
        (("tiny", "--serial", 9), 1, "every version there is"),
        (("tiny", "--version", "2"), 1, "would stop deployment shop (tiny 1)"),
        (("tiny", "--serial", 2, "--root", "/nowhere"), 3, "no root.pem in /nowhere"),
    ],
)
def test_a_floor_that_cannot_be_meant_is_not_set(
    keys: Keys, arguments: tuple[object, ...], code: int, words: str
) -> None:
    keys.run("init")
    keys.publish("1", "2")
    if "2" in arguments:
        database = keys.database()
        request_deployment(database, Intent("shop", "tiny", "1", Method.ALLOCATE, 1))
        database.close()
    assert words in " ".join(keys.run("floor", "set", *arguments, code=code).replace("│", " ").split())
    assert load_trust(keys.folder.path).floors == {}


def test_a_floor_is_set_by_a_key_that_may_and_set_anew_when_that_is_exchanged(keys: Keys, tmp_path: Path) -> None:
    keys.run("init", "--root", tmp_path / "stick")
    keys.publish("1", "2")
    assert "--purpose floor" in keys.run("floor", "set", "tiny", "--serial", 2, code=1)
    for serial in (2, 3):
        keys.run("delegate", "--root", tmp_path / "stick", "--purpose", "floor")
        assert keys.read("rotate")["floors"] == (["tiny"] if serial == 3 else [])
        keys.run("floor", "set", "tiny", "--serial", 2)
        (found,) = keys.read("floor", "show")
        assert (found["lowest"], found["by"]) == (2, f"delegation {serial}")
        # Whoever hears of it only now believes it.
        assert keys.board().learn(load_trust(keys.folder.path).statements)[0].lowest("tiny") == 2


def sign_floor(root: Path, out: Path, *arguments: object, code: int = 0) -> str:
    """Where there is no home."""
    command = ["key", "floor", "sign", "--root", root, "--out", out, *arguments]
    done = RUNNER.invoke(app, list(map(str, command)))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_a_floor_signed_where_the_root_is_counts_where_the_controller_is(keys: Keys, tmp_path: Path) -> None:
    stick, file = tmp_path / "stick", tmp_path / "floor.bin"
    keys.run("init", "--root", stick)
    keys.publish("1", "2")
    assert f"convoy key floor take {file}" in sign_floor(stick, file, "tiny", "--serial", 2)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    taken = keys.read("floor", "take", file)
    assert (taken["model"], taken["lowest"], taken["by"], taken["revokes"]) == ("tiny", 2, "the root", ["tiny 1"])
    assert keys.read("floor", "take", file)["lowest"] == 2, "again is as good"
    with pytest.raises(FloorError):
        verify(keys.published("1"), load_trust(keys.folder.path))
    sign_floor(stick, file, "tiny", "--serial", 1)
    assert "is 2 already" in keys.run("floor", "take", file, code=1)
    sign_floor(stick, file, "--every-model", "--serial", 3)
    assert "would revoke every version" in keys.run("floor", "take", file, code=1)
    assert keys.read("floor", "take", file, "--force")["lowest"] == 3


def test_a_floor_that_is_another_fleet_s_or_none_is_not_taken(keys: Keys, tmp_path: Path) -> None:
    other, file = Keys(tmp_path / "other"), tmp_path / "floor.bin"
    keys.run("init")
    keys.publish("1", "2")
    other.run("init")
    sign_floor(other.folder.path, file, "tiny", "--serial", 2)
    assert "is not signed by the trusted key" in keys.run("floor", "take", file, code=1)
    for content in (b"", b"junk", file.read_bytes()[:-1], codec.encode(Statements((), ())), b"\x00" * 10_000):
        file.write_bytes(content)
        assert "floor.bin" in keys.run("floor", "take", file, code=1)
    assert "no floor" in keys.run("floor", "take", tmp_path / "nothing", code=1)
    assert load_trust(keys.folder.path).floors == {}
    sign_floor(tmp_path / "empty", file, "tiny", "--serial", 2, code=3)
    sign_floor(other.folder.path, file, "--serial", 2, code=2)
    sign_floor(other.folder.path, file, "No Name", "--serial", 2, code=2)


def test_what_is_published_above_a_floor_may_run_though_a_backup_forgot_the_versions_before(keys: Keys) -> None:
    keys.run("init")
    keys.publish("1")
    keys.run("floor", "set", "tiny", "--serial", 40, "--force")
    database = keys.database()
    made = publish(
        database, keys.home, version="new", seed=5, images=few_images, floor=load_trust(keys.folder.path).lowest("tiny")
    )
    assert publications.find_model(database, "tiny", "new").serial == 40
    database.close()
    verify(made, load_trust(keys.folder.path))


@pytest.mark.parametrize("damage", ["not base64 !", "AAAA", ""])
def test_a_damaged_delegation_is_named_with_its_file(keys: Keys, damage: str) -> None:
    keys.run("init")
    text = keys.folder.signing.read_text()
    head, _, _ = text.partition("-----BEGIN CONVOY DELEGATION-----")
    keys.folder.signing.write_text(
        f"{head}-----BEGIN CONVOY DELEGATION-----\n{damage}\n-----END CONVOY DELEGATION-----\n"
    )
    assert "signing.pem cannot be read" in keys.run("show", code=1)


def test_a_delegation_beside_another_key_is_found_out(keys: Keys) -> None:
    keys.run("init")
    tail = keys.folder.signing.read_text().partition("-----BEGIN CONVOY")[2]
    other = private_pem(Ed25519PrivateKey.generate()).decode()
    keys.folder.signing.write_text(f"{other}-----BEGIN CONVOY{tail}")
    assert "is another key's" in keys.run("show", code=1)


def test_damaged_statements_are_named_with_what_to_do(keys: Keys) -> None:
    keys.run("init")
    keys.folder.trust.write_bytes(b"junk")
    assert "the controller learns again" in keys.run("show", code=1)


def test_a_key_that_signs_is_read_back_as_it_was_written(keys: Keys) -> None:
    keys.run("init")
    key = read_signing(keys.folder.signing)
    assert isinstance(key, SigningKey)
    assert key.delegation == signing_key(keys.folder.path).delegation
    with pytest.raises(SignatureError):
        verify(keys.publish("1")[0], Trust(Ed25519PrivateKey.generate().public_key()))
