"""Content codings of HTTP bodies, gzip and deflate: unpacked with a bound, packed when a caller takes it.

Pure functions over bytes; `bodies` and `http` use them.
"""

from __future__ import annotations

import zlib

from convoy_controller.errors import BodyTooLargeError, InvalidInputError

GZIP, DEFLATE = "gzip", "deflate"
#: Answers below this gain nothing.
LEAST_BYTES = 1024
_LEVEL = 1  # numbers hardly pack better at higher ones
_GZIP_WINDOW, _ZLIB_WINDOW, _RAW_WINDOW = 31, 15, -15


def unpack(body: bytes, coding: str, limit: int) -> bytes:
    """What `body` is without its Content-Encoding, at most `limit` bytes.

    `deflate` is zlib's form, or bare as some clients send it. Raises `InvalidInputError`, `BodyTooLargeError`.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return body
    if name in (GZIP, "x-gzip"):
        window = _GZIP_WINDOW
    elif name == DEFLATE:
        is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
        window = _ZLIB_WINDOW if is_zlib else _RAW_WINDOW
    else:
        raise InvalidInputError(f"a body may be packed by {GZIP} or {DEFLATE}, {coding[:40]!r} came")
    unpacker = zlib.decompressobj(window)
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidInputError(f"the body is not {name}: {error}") from error
    if len(content) > limit:
        raise BodyTooLargeError(f"a body may unpack to {limit} bytes: send fewer rows at a time", limit=limit)
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidInputError(f"the body is not one whole {name} stream")
    return content


def accepted(header: str | None) -> str:
    """The coding to answer in, of an Accept-Encoding header; '' for none."""
    taken: dict[str, bool] = {}
    for part in (header or "").lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        taken[name] = weight == "" or weight.strip("0.") != ""  # q=0 is a refusal
    return next((name for name in (GZIP, DEFLATE) if taken.get(name, taken.get("*", False))), "")


def pack(body: bytes, coding: str) -> bytes:
    """`body` in the coding `accepted` chose."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW if coding == GZIP else _ZLIB_WINDOW)
    return packer.compress(body) + packer.flush()
