"""The version pair both sides speak, and who must be updated when they do not."""

from convoy_schema.errors import VersionError

#: Version of the protocol that this code writes.
CURRENT = 1
#: Oldest version that this code still reads.
OLDEST = 1


def check(peer_current: int, peer_oldest: int) -> None:
    """Raise `VersionError`, naming the side to update, unless a peer speaking this pair can be understood."""
    if peer_current < OLDEST:
        raise VersionError(
            f"the peer speaks protocol {peer_current}, this side needs {OLDEST} or newer: update the peer",
            peer_current=peer_current,
            peer_oldest=peer_oldest,
        )
    if peer_oldest > CURRENT:
        raise VersionError(
            f"the peer needs protocol {peer_oldest} or newer, this side speaks {CURRENT}: update this side",
            peer_current=peer_current,
            peer_oldest=peer_oldest,
        )
