"""Invitations and certificates: who was invited, what was issued on what ground, what is revoked. Each leaves an event.

Dates decide here, as they must with certificates; they are the caller's. Whoever refuses says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from convoy_controller.database.board_records import new_event
from convoy_controller.database.engine import Database
from convoy_controller.database.models import CertificateRow, ClaimRow
from convoy_controller.database.records import CertificateWay, NewEvent, Severity
from convoy_controller.errors import EnrollmentError, NotFoundError


@dataclass(frozen=True)
class NewCertificate:
    """One that was just signed."""

    serial: str
    name: str
    ends_at: datetime
    pem: str


@dataclass(frozen=True)
class CertificateLine:
    """One that was issued, as `convoy ca list` shows it."""

    serial: str
    name: str
    way: CertificateWay
    issued_at: datetime
    ends_at: datetime
    revoked_at: datetime | None
    reason: str


def add_claim(database: Database, name: str, secret_hash: str, now: datetime, expires_at: datetime) -> None:
    """Keep an invitation. Raises `EnrollmentError` for a revoked name: an old connection may still go by it."""
    with database.write() as db:
        if _revocation(db, name) is not None:
            raise _revoked(name)
        db.add(ClaimRow(name=name, secret_hash=secret_hash, created_at=now, expires_at=expires_at))
        sentence = f"board {name} was invited; its claim counts until {expires_at:%Y-%m-%d %H:%M} UTC"
        new_event(db, now, NewEvent("board-invited", sentence, board=name))


def use_claim(
    database: Database, name: str, secret_hash: str, key_print: str, now: datetime, sign: Callable[[], NewCertificate]
) -> str:
    """The certificate (PEM) for a claim and a key, signed at its first use; raises `EnrollmentError`.

    The same claim with the same key is a repeat, whose first answer was lost: it gets the same certificate.
    """
    refusal: EnrollmentError | None = None
    with database.write() as db:
        claim = db.scalars(select(ClaimRow).where(ClaimRow.secret_hash == secret_hash)).one_or_none()
        refusal = _refusal(db, claim, name, key_print, now)
        if refusal is not None or claim is None:
            refusal = refusal or _unknown(name)
            kind = NewEvent("enrollment-refused", str(refusal), Severity.WARNING, board=claim.name if claim else None)
            if claim is not None:  # of secrets that nobody was given no row is written: anyone can send them
                new_event(db, now, kind)
        elif claim.serial is not None:
            found = db.get(CertificateRow, claim.serial)
            assert found is not None, "a used claim names its certificate"
            return found.pem
        else:
            issued = sign()
            claim.used_at, claim.key_print, claim.serial = now, key_print, issued.serial
            _keep(db, issued, CertificateWay.CLAIM, now)
            sentence = f"board {name} was enrolled (certificate {issued.serial[:8]})"
            new_event(db, now, NewEvent("board-enrolled", sentence, board=name))
            return issued.pem
    raise refusal


def _refusal(db: Session, claim: ClaimRow | None, name: str, key_print: str, now: datetime) -> EnrollmentError | None:
    if claim is None:
        return _unknown(name)
    if claim.name != name:
        return EnrollmentError(
            f"this claim is for board {claim.name}, not for {name}: enrol under that name, or ask for another claim",
            status=403,
        )
    if _revocation(db, name) is not None:
        return _revoked(name)
    if claim.used_at is not None and claim.key_print != key_print:
        return EnrollmentError(
            f"the claim of {name} was used on {claim.used_at:%Y-%m-%d %H:%M} UTC, and counts once: ask for another "
            "(and whether somebody else has used this one)",
            status=403,
        )
    if now >= claim.expires_at:
        return EnrollmentError(
            f"the claim of {name} expired on {claim.expires_at:%Y-%m-%d %H:%M} UTC: ask for another", status=403
        )
    return None


def renew_certificate(
    database: Database, name: str, old_serial: str, now: datetime, sign: Callable[[], NewCertificate]
) -> str:
    """A new certificate (PEM) for the owner of one that counts; raises `EnrollmentError`.

    One that is not known here is taken all the same: the CA signed it, and a table may have been lost.
    """
    with database.write() as db:
        check_certificate(db, name, old_serial)
        issued = sign()
        _keep(db, issued, CertificateWay.RENEWAL, now)
        sentence = f"the certificate of board {name} was renewed ({old_serial[:8]} to {issued.serial[:8]})"
        new_event(db, now, NewEvent("certificate-renewed", sentence, board=name))
    return issued.pem


def check_certificate(db: Session, name: str, serial: str) -> None:
    """Refuse a certificate or a name that was revoked; raises `EnrollmentError`."""
    row = db.get(CertificateRow, serial)
    if (row is not None and row.revoked_at is not None) or _revocation(db, name) is not None:
        raise _revoked(name)


def add_service_certificate(database: Database, issued: NewCertificate, now: datetime) -> None:
    """Keep a certificate that its owner had made for a service; raises `EnrollmentError` for a revoked name."""
    with database.write() as db:
        if _revocation(db, issued.name) is not None:
            raise _revoked(issued.name)
        _keep(db, issued, CertificateWay.SERVICE, now)
        sentence = f"a certificate was issued for {issued.name} ({issued.serial[:8]})"
        new_event(db, now, NewEvent("certificate-issued", sentence))


def revoke(database: Database, name: str, reason: str, now: datetime) -> tuple[str, ...]:
    """Revoke every certificate of `name` and its open claims; the serials. Raises `NotFoundError`."""
    with database.write() as db:
        rows = db.scalars(select(CertificateRow).where(CertificateRow.name == name)).all()
        claims = db.scalars(select(ClaimRow).where(ClaimRow.name == name, ClaimRow.used_at.is_(None))).all()
        if not rows and not claims:
            raise NotFoundError(f"{name!r} has no certificate and no claim: see `convoy ca list`", name=name)
        for row in rows:
            if row.revoked_at is None:
                row.revoked_at, row.reason = now, reason
        for claim in claims:
            db.delete(claim)
        sentence = f"{name} was revoked: {reason}" if reason else f"{name} was revoked"
        new_event(db, now, NewEvent("board-revoked", sentence, Severity.WARNING, board=name))
        return tuple(row.serial for row in rows)


def revocations(database: Database) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every revoked serial, and every revoked name."""
    with database.read() as db:
        query = select(CertificateRow.serial, CertificateRow.name).where(CertificateRow.revoked_at.is_not(None))
        found = db.execute(query.order_by(CertificateRow.serial)).all()
    return tuple(serial for serial, _ in found), tuple(sorted({name for _, name in found}))


def certificates(database: Database) -> tuple[CertificateLine, ...]:
    """Every certificate, by name, the newest first."""
    with database.read() as db:
        rows = db.scalars(select(CertificateRow).order_by(CertificateRow.name, CertificateRow.issued_at.desc())).all()
        return tuple(
            CertificateLine(row.serial, row.name, row.way, row.issued_at, row.ends_at, row.revoked_at, row.reason)
            for row in rows
        )


def ends(database: Database) -> dict[str, datetime]:
    """When the newest certificate of each holder ends that was not revoked."""
    newest = select(CertificateRow.name, func.max(CertificateRow.ends_at)).where(CertificateRow.revoked_at.is_(None))
    with database.read() as db:
        return dict(db.execute(newest.group_by(CertificateRow.name)).tuples().all())


def _keep(db: Session, issued: NewCertificate, way: CertificateWay, now: datetime) -> None:
    row = CertificateRow(
        serial=issued.serial,
        name=issued.name,
        way=way,
        issued_at=now,
        ends_at=issued.ends_at,
        reason="",
        pem=issued.pem,
    )
    db.add(row)


def _revocation(db: Session, name: str) -> CertificateRow | None:
    query = select(CertificateRow).where(CertificateRow.name == name, CertificateRow.revoked_at.is_not(None))
    return db.scalars(query.limit(1)).first()


def _revoked(name: str) -> EnrollmentError:
    return EnrollmentError(f"{name} was revoked, and a revoked name is not used again: take another name", status=403)


def _unknown(name: str) -> EnrollmentError:
    return EnrollmentError(
        f"this claim of {name} is not known here: ask the fleet's owner for another (`convoy board invite {name}`)",
        status=403,
    )
