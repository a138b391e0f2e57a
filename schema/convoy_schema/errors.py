"""The root of every error tree, and the errors of the contract itself.

An error carries a `code` (stable, kebab-case, sent over the wire), whether a retry can help, and its data.
"""

import reprlib
from typing import ClassVar

#: Cuts in depth, not only in length: `repr` itself raises RecursionError where a peer nests deep enough.
_repr = reprlib.Repr()
_repr.maxlevel = 3
_repr.maxstring = _repr.maxother = _repr.maxlong = 60
#: Characters of a value in a sentence.
_MOST_SHOWN = 60


def shown(value: object) -> str:
    """A value from outside as an error's sentence shows it: like `repr`, and cut where it is long or deep."""
    text = _repr.repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


class ConvoyError(Exception):
    """What was expected, what came, what to do; `data` holds the values behind the sentence."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **data: object) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return self.message


class DecodeError(ConvoyError):
    """Bytes from outside are not the message they should be; names the field."""

    code = "decode"


class VersionError(DecodeError):
    """The peer's protocol version is out of range; says which side to update."""

    code = "protocol-version"


class TopicError(ConvoyError):
    """A topic, or a name inside one, is not of the contract's form."""

    code = "topic"


class TooLargeError(ConvoyError):
    """A message exceeds its bound and was refused before it was published."""

    code = "too-large"


class IntegrityError(ConvoyError):
    """Content does not match its digest, or unpacks to another size than announced."""

    code = "integrity"


class SignatureError(ConvoyError):
    """A bundle's signature is missing, wrong, or made by a key that is not trusted."""

    code = "signature"


class MixedBundleError(SignatureError):
    """A bundle came with the topology or golden values of another: each may be genuine, together they are not."""

    code = "bundle-mixed"


class FloorError(SignatureError):
    """A bundle's serial is below the lowest that may run: it was revoked."""

    code = "below-floor"


class DelegationError(SignatureError):
    """A delegation is not the root's, or not for this purpose or site."""

    code = "delegation"


class DelegationSupersededError(DelegationError):
    """A newer delegation for the same purpose has been seen, which revokes this one."""

    code = "delegation-superseded"


class DelegationExpiredError(DelegationError):
    """Something that was signed after the delegation's end has been seen."""

    code = "delegation-expired"


class TopologyError(ConvoyError):
    """A topology is inconsistent, or a layer cannot be computed as described."""

    code = "topology"


class BitstreamError(ConvoyError):
    """A bitstream is not of the structure that the part and partition demand."""

    code = "bitstream"


class LinkError(ConvoyError):
    """The broker cannot be reached or refused us; retried with back-off."""

    code = "link"
    retryable = True


class TomlError(ConvoyError):
    """A text is not TOML within the bounds of what is read; the caller says which file it is."""

    code = "toml"


class TlsError(LinkError):
    """An encrypted connection was refused, by us or by the peer, or a file that it needs cannot be used."""

    code = "tls"


class ClaimError(ConvoyError):
    """A claim cannot be read: it was not copied whole, or is not one."""

    code = "claim"


class FloorplanError(ConvoyError):
    """A floorplan file is incomplete or contradicts its part; names the key."""

    code = "floorplan"
