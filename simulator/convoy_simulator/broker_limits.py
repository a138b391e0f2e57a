"""What a Mosquitto is told in its configuration, as far as it decides who gets which message."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Defaults are those of Mosquitto 2.0; 0 stands for no limit, as there."""

    max_inflight_messages: int = 20
    max_queued_messages: int = 1000
    max_queued_bytes: int = 0
    #: Bytes of one packet.
    max_packet_size: int = 0
    #: Seconds of keepalive that a client may ask for.
    max_keepalive_s: int = 0
    max_connections: int = 0
    queue_qos0_messages: bool = False
    #: Seconds after which the session of a client that is away is forgotten.
    persistent_client_expiration_s: int = 0
    #: The rules of an acl_file, or none: everybody may say and hear everything.
    rules: str | None = None


#: Mosquitto 2.0 as it comes.
MOSQUITTO = Limits()
