"""Options of an encrypted connection to the broker, and what they come to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.home import Home

if TYPE_CHECKING:
    from convoy_schema.credentials import Credentials

CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar="CONVOY_TLS_CA", show_default="HOME/tls/ca.pem", help="mqtts:// only: the fleet's CA, PEM."
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        "--certificate",
        envvar="CONVOY_TLS_CERTIFICATE",
        show_default="HOME/tls/NAME.pem",
        help="mqtts:// only: our certificate, PEM.",
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="CONVOY_TLS_KEY",
        show_default="in the certificate's file",
        help="mqtts:// only: our private key, PEM.",
    ),
]
ServerNameOption = Annotated[
    str,
    typer.Option(
        "--server-name",
        envvar="CONVOY_TLS_SERVER_NAME",
        show_default="the URL's host",
        help="mqtts:// only: the name that the broker's certificate must have.",
    ),
]


def credentials_for(
    url: str,
    name: str,
    home: Home,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    server_name: str = "",
) -> Credentials | None:
    """What the broker at `url` is shown by the part called `name`; None where it is not encrypted.

    Raises `LinkError` for options that such a URL does not take, `TlsError` for a file that cannot be used.
    """
    is_encrypted = url.startswith("mqtts:")
    if not is_encrypted and ca is None and certificate is None and key is None and not server_name:
        return None
    from convoy_schema.credentials import Credentials, TimeFloor
    from convoy_schema.link import check_credentials

    found = Credentials(
        ca or home.tls / "ca.pem",
        certificate or home.tls / f"{name}.pem",
        key,
        server_name,
        TimeFloor(home.tls / f"{name}.time-floor") if is_encrypted else TimeFloor(),
    )
    check_credentials(url, found)
    found.check_name(name)
    found.context()  # what cannot be used is told now, not by a link that tries again for ever
    return found
