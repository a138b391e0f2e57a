"""Exchanging the signing key: everything published is signed anew, then the new key takes the old one's place.

A bundle's bytes stay as they are, and so does its digest, which is all that assignments name: what runs is not touched.
Each step can be repeated, so a rotation that was broken off is finished by asking again. Called by `convoy key`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convoy_schema.bundle import ModelAnnouncement, sign_again, verify
from convoy_schema.errors import ConvoyError
from convoy_schema.signing import (
    Purpose,
    SignedFloor,
    SigningKey,
    Statements,
    read_delegation,
    read_floor,
    set_floor,
)
from convoy_schema.trust import Trust

from convoy_controller.database import publications
from convoy_controller.database.engine import Database
from convoy_controller.database.records import SavedModel
from convoy_controller.errors import KeyFileError
from convoy_controller.keys import KeyFolder, load_trust, remember, signing_file, write_private


@dataclass(frozen=True)
class Rotation:
    """What was done: models signed anew and left out, as NAME VERSION, and floors signed anew by their models."""

    serial: int
    models: tuple[str, ...]
    left_out: tuple[str, ...]
    floors: tuple[str, ...]


def rotate(database: Database, folder: Path, new: SigningKey) -> Rotation:
    """Take up `new`; raises `KeyFileError`, `DelegationError` where boards would not believe it, or `DatabaseError`.

    What does not verify under the root at all is not signed: a damaged row would be made good.
    """
    if new.delegation is None:
        raise KeyFileError("the new signing key has no delegation: make it with `convoy key delegate`")
    trust = load_trust(folder)
    new_trust = trust.with_delegation(new.delegation)
    new_trust.key_of(new.delegation, Purpose.BUNDLE)
    done, left_out = publications.sign_models_again(database, lambda model: _signed(model, Trust(trust.root), new))
    floors = _floors(trust, new)
    keys = KeyFolder(folder)
    with keys.locked():
        write_private(keys.signing, signing_file(new))
    # Last, since it revokes the old key: by now nothing that the controller may send is signed by that one.
    remember(folder, Statements((new.delegation,), tuple(floors.values())))
    with keys.locked():
        keys.next.unlink(missing_ok=True)
    return Rotation(read_delegation(new.delegation).serial, _names(done), _names(left_out), tuple(floors))


def _signed(model: SavedModel, root: Trust, new: SigningKey) -> ModelAnnouncement | None:
    try:
        verify(model.announcement, root)  # whoever the root once believed, ended and replaced keys included
    except ConvoyError:
        return None
    return sign_again(model.announcement, new)


def _floors(trust: Trust, new: SigningKey) -> dict[str, SignedFloor]:
    """Floors that a delegated key had set: who hears of them from now on believes the new one only."""
    if new.delegation is None or Purpose.FLOOR not in read_delegation(new.delegation).purposes:
        return {}
    held = {model: signed for model, signed in trust.floors.items() if signed.delegation is not None}
    return {model or "every model": set_floor(read_floor(signed), new) for model, signed in held.items()}


def _names(models: tuple[SavedModel, ...]) -> tuple[str, ...]:
    return tuple(f"{model.name} {model.version}" for model in models)
