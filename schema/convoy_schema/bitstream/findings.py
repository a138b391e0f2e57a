"""What can be wrong with an image: each rule by its code, why it exists, and a finding that names what broke it.

The reader marks its errors with a rule, the checker makes findings; boards and people read both.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Rule(str, enum.Enum):
    """A rule's code: stable, and what a refusal is known by."""

    HEADER = "header"
    PART = "part"
    SYNC = "sync"
    SECOND_SYNC = "second-sync"
    PACKETS = "packets"
    DESYNC = "desync"
    TRAILING = "trailing"
    READ = "read"
    REGISTER = "register"
    COMMAND = "command"
    VALUE = "value"
    CONTROL = "control"
    SEQUENCE = "sequence"
    IDCODE = "idcode"
    FAR = "far"
    BURST = "burst"
    WRITE_MODE = "write-mode"
    FRAMES_OUTSIDE = "frames-outside"
    FRAMES_MISSING = "frames-missing"
    PASSES = "passes"
    PAD = "pad"
    RESET_MASK = "reset-mask"
    CRC_MISSING = "crc-missing"
    CRC_RESET = "crc-reset"
    CRC = "crc"

    @property
    def why(self) -> str:
        """What breaking the rule could do."""
        return _WHY[self]


_WHY = {
    Rule.HEADER: "what is not a whole .bit file configures nothing that anyone meant",
    Rule.PART: "an image for another chip means other wires",
    Rule.SYNC: "without its sync word the port ignores everything",
    Rule.SECOND_SYNC: "a second image inside the first would escape every other rule",
    Rule.PACKETS: "words that are no packets may mean to the chip what they do not mean to a reader",
    Rule.DESYNC: "an image that is cut leaves the port waiting in the middle of a configuration",
    Rule.TRAILING: "words behind the end could begin another image",
    Rule.READ: "an image has nothing to read; a port that answers is not one that loads",
    Rule.REGISTER: "other registers hide the frames (compression, encryption) or change the chip outside them",
    Rule.COMMAND: "other commands restart, read or freeze the whole chip",
    Rule.VALUE: "a register with another value changes how the whole chip starts or boots",
    Rule.CONTROL: "the control register also holds security, persistence and the outputs' tristate",
    Rule.SEQUENCE: "a reset without its mask resets the static design, a shutdown without a start stops it",
    Rule.IDCODE: "the chip compares its identity only when it is told to, before the first frame",
    Rule.FAR: "an address that is not followed by its frames makes the next ones land elsewhere",
    Rule.BURST: "frames come whole, and the last of a burst only pushes the others out",
    Rule.WRITE_MODE: "frames are taken only after the command that opens the memory",
    Rule.FRAMES_OUTSIDE: "a frame outside the partition rewires the static design or a neighbour while it runs",
    Rule.FRAMES_MISSING: "frames that are left keep wires of the module before",
    Rule.PASSES: "the first pass blanks the region, so that old and new wires never drive each other",
    Rule.PAD: "a pad is no frame: what it carries would reach the memory if the address were one off",
    Rule.RESET_MASK: "a column that is unmasked is reset with the partition, and loses its state",
    Rule.CRC_MISSING: "without a CRC behind the last frame nothing tells whether all arrived",
    Rule.CRC_RESET: "a CRC that starts from elsewhere breaks a load off, one that starts anew protects nothing",
    Rule.CRC: "the image is not what was made: damaged on its way, or altered",
}


@dataclass(frozen=True)
class Finding:
    """One broken rule: what it asks for, what is there, and at which word of the payload, where there is one."""

    rule: Rule
    expected: str
    came: str
    word: int | None = None

    def __str__(self) -> str:
        where = "" if self.word is None else f" (word {self.word})"
        expected = f"; expected: {self.expected}" if self.expected else ""
        return f"{self.rule.value}: {self.came}{where}{expected}"
