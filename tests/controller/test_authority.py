"""The CA signs what it should, and OpenSSL, which checks on the other side, agrees."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.enrollment.authority import (
    BOARD_LIFE,
    Authority,
    Role,
    certificate_pem,
    check_board_name,
    is_due,
    role_of,
)
from convoy_controller.errors import AuthorityError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tls_broker import board_certificate, signing_request, utc_now

NOW = utc_now()
AUTHORITY = Authority.create("test", NOW)


def openssl_verifies(
    tmp_path: Path, certificate: x509.Certificate, purpose: str, revoked: tuple[str, ...] = ()
) -> bool:
    """Another implementation's verdict, with the list of revoked certificates looked at."""
    for name, content in (
        ("ca.pem", certificate_pem(AUTHORITY.certificate)),
        ("leaf.pem", certificate_pem(certificate)),
        ("crl.pem", AUTHORITY.revocations(revoked, NOW)),
    ):
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-crl_check"]
    command += ["-CAfile", "ca.pem", "-CRLfile", "crl.pem", "leaf.pem"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_boards_certificate_is_for_a_client_and_a_brokers_for_a_server(tmp_path: Path) -> None:
    board = board_certificate(AUTHORITY, "board-1", NOW).certificate
    broker = AUTHORITY.issue("broker", ("10.0.0.1", "broker.example"), NOW).certificate
    assert openssl_verifies(tmp_path, board, "sslclient")
    assert not openssl_verifies(tmp_path, board, "sslserver")
    assert openssl_verifies(tmp_path, broker, "sslserver")
    assert not openssl_verifies(tmp_path, broker, "sslclient")
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["convoy-broker", "broker.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    with pytest.raises(x509.ExtensionNotFound):
        board.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_the_revoked_are_on_the_list_and_nobody_else(tmp_path: Path) -> None:
    one, two = (board_certificate(AUTHORITY, f"board-{n}", NOW) for n in (1, 2))
    assert not openssl_verifies(tmp_path, one.certificate, "sslclient", (one.serial,))
    assert openssl_verifies(tmp_path, two.certificate, "sslclient", (one.serial,))


def test_a_board_signs_nothing(tmp_path: Path) -> None:
    """With a board's certificate nobody makes another one that counts."""
    key = ec.generate_private_key(ec.SECP256R1())
    board = AUTHORITY.sign(signing_request(key), "board-1", NOW).certificate
    forged = board_certificate(Authority(board, key), "board-2", NOW).certificate
    assert not AUTHORITY.has_signed(forged)
    (tmp_path / "ca.pem").write_bytes(certificate_pem(AUTHORITY.certificate))
    (tmp_path / "board.pem").write_bytes(certificate_pem(board))
    (tmp_path / "forged.pem").write_bytes(certificate_pem(forged))
    command = ["openssl", "verify", "-CAfile", "ca.pem", "-untrusted", "board.pem", "forged.pem"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_what_a_request_asks_for_is_not_granted() -> None:
    """Name, purpose and more are the CA's to give; only the key is the board's."""
    key = ec.generate_private_key(ec.SECP256R1())
    found = AUTHORITY.sign(signing_request(key, "controller"), "board-1", NOW).certificate
    assert found.subject.rfc4514_string() == "CN=board-1"
    assert found.public_key() == key.public_key()
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_requests_that_are_not_signed_by_their_key_or_of_another_kind_are_refused() -> None:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "board-1")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    other = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.PEM)
    with pytest.raises(AuthorityError, match="must be one of P-256"):
        AUTHORITY.sign(other, "board-1", NOW)
    request = x509.load_pem_x509_csr(signing_request(ec.generate_private_key(ec.SECP256R1())))
    damaged = bytearray(request.public_bytes(Encoding.DER))
    damaged[-1] ^= 1
    with pytest.raises(AuthorityError, match=r"was not signed by its own key|cannot be read"):
        AUTHORITY.sign(bytes(damaged), "board-1", NOW)
    for rubbish in (b"", b"-----BEGIN CERTIFICATE REQUEST-----", b"\x30\x82"):
        with pytest.raises(AuthorityError, match="cannot be read"):
            AUTHORITY.sign(rubbish, "board-1", NOW)


def test_roles_go_by_name() -> None:
    for role in Role:
        if role is not Role.BOARD:
            assert role_of(role.value) is role_of(f"{role.value}-2") is role
            assert role_of(f"{role.value}s") is Role.BOARD
            with pytest.raises(AuthorityError, match=f"are those of a {role.value}"):
                check_board_name(role.value)
    with pytest.raises(AuthorityError, match="boards make their keys themselves"):
        AUTHORITY.issue("board-1", (), NOW)
    with pytest.raises(AuthorityError, match="neither a name nor an address"):
        AUTHORITY.issue("broker", ("höst",), NOW)


def test_a_certificate_is_due_in_the_last_third_of_its_life() -> None:
    found = board_certificate(AUTHORITY, "board-1", NOW).certificate
    assert not is_due(found, NOW)
    assert not is_due(found, NOW + BOARD_LIFE * 0.6)
    assert is_due(found, NOW + BOARD_LIFE * 0.7)
    assert is_due(found, NOW + BOARD_LIFE * 2)


def test_a_ca_is_read_back_and_a_mixed_up_one_is_refused() -> None:
    again = Authority.parse(certificate_pem(AUTHORITY.certificate), AUTHORITY.key_pem())
    assert again.has_signed(board_certificate(AUTHORITY, "board-1", NOW).certificate)
    other = Authority.create("test", NOW + timedelta(seconds=1))
    with pytest.raises(AuthorityError, match="does not belong to its certificate"):
        Authority.parse(certificate_pem(AUTHORITY.certificate), other.key_pem())
    with pytest.raises(AuthorityError, match="is not PEM"):
        Authority.parse(b"x", AUTHORITY.key_pem())
