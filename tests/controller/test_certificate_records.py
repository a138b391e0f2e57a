"""Claims and certificates in both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from convoy_controller.database import certificate_records as records
from convoy_controller.database import queries
from convoy_controller.database.certificate_records import NewCertificate
from convoy_controller.database.engine import Database, open_database
from convoy_controller.errors import EnrollmentError, NotFoundError
from tls_broker import DAY, utc_now

NOW = utc_now()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = open_database(database_url)
    yield found
    found.close()


def certificate(serial: str, name: str = "board-1") -> NewCertificate:
    return NewCertificate(serial, name, NOW + 90 * DAY, f"PEM {serial}")


def test_of_many_who_use_one_claim_at_once_one_gets_a_certificate(database: Database) -> None:
    records.add_claim(database, "board-1", "hash", NOW, NOW + DAY)

    def use(number: int) -> str:
        try:
            return records.use_claim(
                database, "board-1", "hash", f"key-{number}", NOW, lambda: certificate(f"{number}")
            )
        except EnrollmentError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(use, range(6)))
    assert len([one for one in answers if one.startswith("PEM")]) == 1
    assert len([one for one in answers if "counts once" in one]) == 5
    assert len(records.certificates(database)) == 1


def test_a_signature_that_fails_uses_up_nothing(database: Database) -> None:
    records.add_claim(database, "board-1", "hash", NOW, NOW + DAY)

    def fail() -> NewCertificate:
        raise EnrollmentError("no room")

    with pytest.raises(EnrollmentError, match="no room"):
        records.use_claim(database, "board-1", "hash", "key", NOW, fail)
    assert records.use_claim(database, "board-1", "hash", "other", NOW, lambda: certificate("1")) == "PEM 1"


def test_what_is_revoked_is_so_for_every_certificate_of_the_name(database: Database) -> None:
    records.add_claim(database, "board-1", "hash", NOW, NOW + DAY)
    records.use_claim(database, "board-1", "hash", "key", NOW, lambda: certificate("1"))
    records.renew_certificate(database, "board-1", "1", NOW, lambda: certificate("2"))
    records.add_service_certificate(database, certificate("3", "gateway"), NOW)
    assert records.revocations(database) == ((), ())
    assert set(records.revoke(database, "board-1", "stolen", NOW + timedelta(hours=1))) == {"1", "2"}
    assert records.revocations(database) == (("1", "2"), ("board-1",))
    for serial in ("1", "2", "never seen"):
        with pytest.raises(EnrollmentError, match="was revoked"):
            records.renew_certificate(database, "board-1", serial, NOW, lambda: certificate("4"))
    with pytest.raises(EnrollmentError, match="take another name"):
        records.add_claim(database, "board-1", "new", NOW, NOW + DAY)
    with pytest.raises(NotFoundError):
        records.revoke(database, "board-9", "", NOW)
    assert [(line.name, line.reason) for line in records.certificates(database) if line.revoked_at] == [
        ("board-1", "stolen"),
        ("board-1", "stolen"),
    ]
    kinds = [event.kind for event in queries.events(database)]
    assert sorted(kinds) == [
        "board-enrolled",
        "board-invited",
        "board-revoked",
        "certificate-issued",
        "certificate-renewed",
    ]
