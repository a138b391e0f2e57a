"""What a Mosquitto is told in its configuration, as far as it decides who gets which message."""

from __future__ import annotations

from typing import NamedTuple

#: Stands for none where a number is compared.
NO_LIMIT = 1 << 62
_SECONDS = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}


class Limits(NamedTuple):
    """Defaults are those of Mosquitto 2.0; 0 stands for no limit, as there.

    `max_keepalive` is missing on purpose: Mosquitto 2.0 holds no client of MQTT 3.1.1 to it.
    """

    #: Messages of QoS 1 on their way to one client, and those that wait behind them, in messages and bytes of payload.
    max_inflight_messages: int = 20
    max_queued_messages: int = 1000
    max_queued_bytes: int = 0
    #: Bytes of one packet after its fixed header.
    max_packet_size: int = 0
    max_connections: int = 0
    #: Seconds after which the session of a client that is away is forgotten.
    persistent_client_expiration_s: int = 0
    #: What the acl_file says, or None: everybody may say and hear everything.
    rules: str | None = None


#: Mosquitto 2.0 as it comes.
MOSQUITTO = Limits()


def limits_of(configuration: str, rules: str | None = None) -> Limits:
    """The limits that a mosquitto.conf sets; `rules` is the content of its acl_file.

    Raises ValueError for what would change deliveries and is not modelled.
    """
    numbers: dict[str, int] = {}
    for line in configuration.splitlines():
        name, _, value = line.strip().partition(" ")
        if name in {"queue_qos0_messages", "allow_duplicate_messages", "upgrade_outgoing_qos"} and value == "true":
            raise ValueError(f"{name} true is not modelled; take it out of the configuration")
        if name in {"max_inflight_bytes", "message_size_limit"} and value != "0":
            raise ValueError(f"{name} {value} is not modelled; set it to 0")
        if name == "persistent_client_expiration":
            numbers["persistent_client_expiration_s"] = int(value[:-1]) * _SECONDS[value[-1]]
        elif name != "rules" and name in Limits._fields:
            numbers[name] = int(value)
    return Limits(rules=rules, **numbers)
