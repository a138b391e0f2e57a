"""What Mosquitto is given for an encrypted fleet: the shipped configuration and access rules, made this fleet's own.

The two files in broker_config/ are the only home of their rules; here only paths, the port and names are put in.
"""

from __future__ import annotations

import getpass
import importlib.resources
import os
from collections.abc import Iterable
from pathlib import Path

from convoy_schema.names import check_name

#: In the source tree links to broker_config/.
CONFIGURATION = "mosquitto-tls.conf"
RULES = "acl"
BRIDGE = "bridge.conf"
#: What the shipped files name, and is replaced.
_FOLDER = "/etc/mosquitto/convoy/"
_SITE = "main"
_GATEWAY = "gateway"
_CENTRE = "central.example:8883"


def tls_configuration(folder: Path, port: int, host: str = "") -> str:
    """The shipped configuration, with certificates and rules in `folder` and a listener on `port` (of `host`)."""
    lines = _shipped(CONFIGURATION).replace(_FOLDER, f"{folder}/").splitlines()
    lines = [f"listener {port} {host}".rstrip() if line.startswith("listener ") else line for line in lines]
    if os.geteuid() == 0:
        # See convoy_controller.broker: a child that changes its user is no longer killed with its parent.
        lines.append(f"user {getpass.getuser()}")
    return "\n".join(lines) + "\n"


def access_rules(site: str, gateways: Iterable[str], revoked: Iterable[str] = ()) -> str:
    """The shipped rules for `site`, with a section for each gateway, and the revoked silenced."""
    check_name(site, "site")
    blocks: list[str] = []
    for block in _shipped(RULES).rstrip().split("\n\n"):
        if f"\nuser {_GATEWAY}\n" in block:
            blocks += [_of_gateway(block, check_name(name, "gateway")) for name in sorted(set(gateways))]
        else:
            blocks.append(block)
    text = (
        "\n\n".join(blocks)
        .replace(f"convoy/1/{_SITE}/", f"convoy/1/{site}/")
        .replace(f"user bridge-{_SITE}", f"user bridge-{site}")
    )
    silenced = "".join(f"\nuser {check_name(name)}\ntopic deny #\n" for name in sorted(set(revoked)))
    if silenced:
        silenced = "\n# Revoked: whatever still is connected neither says nor hears anything.\n" + silenced.lstrip("\n")
    return text.replace(f"for site `{_SITE}`", f"for site `{site}`") + "\n" + silenced


def bridge_configuration(folder: Path, site: str, centre: str) -> str:
    """The shipped bridge of a site's broker to the one at `centre`, HOST:PORT; its certificate is in `folder`."""
    check_name(site, "site")
    text = _shipped(BRIDGE).replace(_FOLDER, f"{folder}/").replace(_CENTRE, centre)
    return text.replace(f"convoy/1/{_SITE}/", f"convoy/1/{site}/").replace(f"bridge-{_SITE}", f"bridge-{site}")


def _of_gateway(block: str, name: str) -> str:
    # A level of a topic, never a part of one: `gateways/gateway/state`.
    return block.replace(f"user {_GATEWAY}\n", f"user {name}\n").replace(f"/{_GATEWAY}/", f"/{name}/")


def _shipped(name: str) -> str:
    return importlib.resources.files("convoy_controller").joinpath(name).read_text(encoding="utf-8")
