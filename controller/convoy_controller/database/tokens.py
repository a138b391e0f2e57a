"""Tokens of the REST API: who may come, as what, until when. Dates decide here, as with certificates; the caller's.

A token is `convoy_LOOKUP_SECRET`. The lookup finds its row, of the secret (256 random bits) the SHA-256 is kept and
compared in constant time. Called by the API and by `convoy token`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from convoy_schema.names import check_name
from sqlalchemy import select

from convoy_controller.database.board_records import new_event
from convoy_controller.database.engine import Database
from convoy_controller.database.models import TokenRow
from convoy_controller.database.records import NewEvent, TokenRole
from convoy_controller.database.views import TokenLine
from convoy_controller.errors import NameUsedError, NotFoundError

SECRET_BYTES = 32
#: Names that the audit gives to callers who have no token.
RESERVED = frozenset({"local", "unknown"})
_TOKEN = re.compile(r"convoy_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
#: Compared with where there is no such token, so that this takes as long.
_NOBODY = "0" * 64


@dataclass(frozen=True)
class NewToken:
    """A token that was just made: the only time that its text is known."""

    line: TokenLine
    token: str


def create_token(
    database: Database, name: str, role: TokenRole, now: datetime, expires_at: datetime | None
) -> NewToken:
    """Make a token. Raises `NameUsedError` for a name that was ever given, `TopicError` for one that cannot be one."""
    check_name(name, "token name")
    if name in RESERVED:
        raise NameUsedError(f"{name!r} is what callers without a token are called: take another name", name=name)
    lookup, secret = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)
    with database.write() as db:
        if db.scalars(select(TokenRow.id).where(TokenRow.name == name)).first() is not None:
            raise NameUsedError(f"there is or was a token {name!r}, and a name is given once: take another", name=name)
        row = TokenRow(
            name=name, role=role, lookup=lookup, secret_hash=_hash(secret), created_at=now, expires_at=expires_at
        )
        db.add(row)
        until = "" if expires_at is None else f" until {expires_at:%Y-%m-%d %H:%M} UTC"
        new_event(db, now, NewEvent("token-created", f"token {name} was made, {role.value}{until}"))
        db.flush()
        return NewToken(_line(row), f"convoy_{lookup}_{secret}")


def revoke_token(database: Database, name: str, now: datetime) -> TokenLine:
    """Let a token count no more, from the next request on. Raises `NotFoundError`; a repeat changes nothing."""
    with database.write() as db:
        row = db.scalars(select(TokenRow).where(TokenRow.name == name)).first()
        if row is None:
            raise NotFoundError(f"there is no token {name!r}: see `convoy token list`", name=name)
        if row.revoked_at is None:
            row.revoked_at = now
            new_event(db, now, NewEvent("token-revoked", f"token {name} was revoked"))
        return _line(row)


def tokens(database: Database) -> tuple[TokenLine, ...]:
    """Every token that ever was, by name."""
    with database.read() as db:
        return tuple(_line(row) for row in db.scalars(select(TokenRow).order_by(TokenRow.name)))


def has_tokens(database: Database) -> bool:
    """Whether a token was ever made: from then on one is needed, whatever became of it."""
    with database.read() as db:
        return db.scalars(select(TokenRow.id).limit(1)).first() is not None


def bearer(database: Database, token: str, now: datetime) -> TokenLine | None:
    """Whose token that is; None when it is nobody's, has expired or was revoked. Index: `ix_tokens_lookup`."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    with database.read() as db:
        row = db.scalars(select(TokenRow).where(TokenRow.lookup == found[1])).first()
    is_right = hmac.compare_digest(_hash(found[2]), _NOBODY if row is None else row.secret_hash)
    if row is None or not is_right or row.revoked_at is not None:
        return None
    return _line(row) if row.expires_at is None or now < row.expires_at else None


def note_use(database: Database, name: str, now: datetime) -> None:
    """Remember that a token was used."""
    with database.write() as db:
        row = db.scalars(select(TokenRow).where(TokenRow.name == name)).first()
        if row is not None:
            row.last_used_at = now


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _line(row: TokenRow) -> TokenLine:
    return TokenLine(row.name, row.role, row.created_at, row.expires_at, row.last_used_at, row.revoked_at)
