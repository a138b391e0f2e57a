"""The `.bit` file's header: design, part, date and time, and where the configuration words begin.

Nothing in it is protected or trusted: what counts is in the packets. The reader and the writer call it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from convoy_schema.bitstream.findings import Rule
from convoy_schema.errors import BitstreamError

#: What every .bit file starts with: a field of nine bytes, then the number 1.
PREAMBLE = bytes.fromhex("0009 0ff00ff00ff00ff000 0001")
#: Characters of one field, at most; Vivado's longest are design names with their options.
MAX_FIELD = 1024
_FIELDS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Header:
    """Design (with Vivado's options after ';'), part without speed grade, date and time, all as text."""

    design: str
    part: str
    date: str
    time: str

    @property
    def says_partial(self) -> bool:
        """Whether the design's options claim a partial image: only text, decide nothing by it."""
        return "PARTIAL=TRUE" in self.design.split(";")[1:]


def parse_header(image: bytes) -> tuple[Header, int]:
    """The header and the byte offset of the payload, which must reach to the end of the file in whole words."""
    if not image.startswith(PREAMBLE):
        raise BitstreamError(
            "a .bit file must begin with its 13-byte preamble; this is another format, or not one", rule=Rule.HEADER
        )
    offset = len(PREAMBLE)
    fields = []
    for key in _FIELDS:
        text, offset = _field(image, key, offset)
        fields.append(text)
    if image[offset : offset + 1] != b"e" or len(image) < offset + 5:
        raise BitstreamError(
            "the header must end with field 'e', the payload's length", offset=offset, rule=Rule.HEADER
        )
    (length,) = struct.unpack_from(">I", image, offset + 1)
    offset += 5
    if length != len(image) - offset:
        raise BitstreamError(
            f"the header announces {length} bytes of payload, {len(image) - offset} follow: the file is not whole",
            announced=length,
            rule=Rule.HEADER,
        )
    if length % 4:
        raise BitstreamError(
            f"the payload must be whole 32-bit words, it has {length} bytes", announced=length, rule=Rule.HEADER
        )
    return Header(*fields), offset


def _field(image: bytes, key: str, offset: int) -> tuple[str, int]:
    if image[offset : offset + 1] != key.encode() or len(image) < offset + 3:
        raise BitstreamError(f"the header must have field {key!r} at byte {offset}", offset=offset, rule=Rule.HEADER)
    (length,) = struct.unpack_from(">H", image, offset + 1)
    text = image[offset + 3 : offset + 3 + length]
    if not 1 <= length <= MAX_FIELD or len(text) != length or text[-1] != 0:
        raise BitstreamError(
            f"header field {key!r} must be 1 to {MAX_FIELD} bytes that end in NUL", offset=offset, rule=Rule.HEADER
        )
    try:
        return text[:-1].decode("ascii"), offset + 3 + length
    except UnicodeDecodeError as error:
        raise BitstreamError(f"header field {key!r} must be ASCII", offset=offset, rule=Rule.HEADER) from error


def build_header(header: Header, payload_bytes: int) -> bytes:
    """The bytes that go before a payload of `payload_bytes`."""
    parts = [PREAMBLE]
    for key, text in zip(_FIELDS, (header.design, header.part, header.date, header.time), strict=True):
        raw = text.encode("ascii") + b"\0"
        if len(raw) > MAX_FIELD:
            raise BitstreamError(f"header field {key!r} may take {MAX_FIELD} bytes, {len(raw)} came")
        parts.append(key.encode() + struct.pack(">H", len(raw)) + raw)
    return b"".join(parts) + b"e" + struct.pack(">I", payload_bytes)
