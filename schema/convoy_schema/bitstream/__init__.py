"""7-series configuration images: read, checked by their CRC, and written for emulated parts.

`read` gives the facts of any .bit file; `Geometry` says where its frames lie; `write_partial` and `write_full` make
images of the real structure; `embed` and `extract` put a descriptor of what is configured into the frames themselves.
`check_partial` and `check_full` decide whether an image may be loaded, by rules that are data.
"""

from convoy_schema.bitstream.checker import Region, Report, check_full, check_partial
from convoy_schema.bitstream.descriptor import Descriptor, embed, extract
from convoy_schema.bitstream.findings import Finding, Rule
from convoy_schema.bitstream.frames import (
    FRAME_BYTES,
    FRAME_WORDS,
    Block,
    ColumnSpan,
    FrameAddress,
    Frames,
    Geometry,
    Indices,
)
from convoy_schema.bitstream.header import Header
from convoy_schema.bitstream.packets import Command, Opcode, Packet, Register
from convoy_schema.bitstream.parts import EMULATED_XC7Z020, PARTS, XC7Z020, Part, part_named, part_of
from convoy_schema.bitstream.reader import Bitstream, Burst, read
from convoy_schema.bitstream.rules import RuleBook, Rules, parse_rules, shipped
from convoy_schema.bitstream.writer import write_full, write_partial

__all__ = [  # noqa: RUF022 - grouped by what it is for
    # Reading
    "Bitstream",
    "Burst",
    "Command",
    "Header",
    "Opcode",
    "Packet",
    "Register",
    "read",
    # Frames and parts
    "EMULATED_XC7Z020",
    "FRAME_BYTES",
    "FRAME_WORDS",
    "PARTS",
    "XC7Z020",
    "Block",
    "ColumnSpan",
    "FrameAddress",
    "Frames",
    "Geometry",
    "Indices",
    "Part",
    "part_named",
    "part_of",
    # Checking
    "Finding",
    "Region",
    "Report",
    "Rule",
    "RuleBook",
    "Rules",
    "check_full",
    "check_partial",
    "parse_rules",
    "shipped",
    # Writing
    "Descriptor",
    "embed",
    "extract",
    "write_full",
    "write_partial",
]
