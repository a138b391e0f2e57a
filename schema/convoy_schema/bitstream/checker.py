"""Decides whether an image may be loaded: a partial one into a given region of a part, a full one into a part.

Everything is decided from the words themselves, before any of them comes near a fabric; rules.toml holds what may vary.
The structure costs little more than a hash of the image. The value of the CRCs is a step of its own that costs several
times as much, and a report says whether it was taken. Boards call this before every first load, people by `convoy
bitstream check`. Whatever the bytes are, the answer is a report: nothing here raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from convoy_schema.bitstream.findings import Finding, Rule
from convoy_schema.bitstream.frames import FRAME_WORDS, Block, FrameAddress, Frames, Indices
from convoy_schema.bitstream.packets import Command, Opcode, Packet, Register
from convoy_schema.bitstream.parts import Part, part_of
from convoy_schema.bitstream.reader import Bitstream, read
from convoy_schema.bitstream.rules import ANYWHERE, FRAMES, MASK, Rules, shipped
from convoy_schema.errors import BitstreamError

#: Findings in one report, at most: one is enough to refuse.
MOST_FINDINGS = 20
#: Bits of a frame address; the register has no others.
_FAR_BITS = 26
#: What registers outside the rules are for, where a name does not say it.
_PURPOSE = {
    Register.MFWR: "the image is compressed, so its frames do not show; write it without compression",
    Register.CBC: "the image is encrypted",
    Register.LOUT: "the image is of debug style; write it without",
    Register.CTL1: "it holds what no partial image needs",
    Register.COR0: "it sets how the whole chip starts",
    Register.COR1: "it sets how the whole chip starts",
    Register.WBSTAR: "it sets where the chip boots from next",
    Register.TIMER: "it sets the configuration watchdog",
}


@dataclass(frozen=True)
class Region:
    """Frames of `part`, ascending, that make up partition `name`. `neighbours` only make refusals clearer."""

    part: Part
    name: str
    frames: Indices
    neighbours: Mapping[str, Indices] = field(default_factory=dict)

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """For each frame of the part whether it is inside."""
        inside = np.zeros(self.part.geometry.memory_frames, dtype=bool)
        inside[self.frames] = True
        return inside

    @cached_property
    def reset_mask(self) -> Frames:
        """The masks with which nothing but this region is reset."""
        return self.part.geometry.reset_mask(self.frames)


@dataclass(frozen=True)
class Report:
    """What was found; `bitstream` is None if the bytes are no image. `is_crc_checked`: whether CRCs were compared."""

    findings: tuple[Finding, ...]
    is_crc_checked: bool
    bitstream: Bitstream | None = field(repr=False, compare=False)

    @property
    def is_accepted(self) -> bool:
        """Whether the image may be loaded, as far as it was checked."""
        return not self.findings


def check_partial(image: bytes, region: Region, *, with_crc: bool = True, rules: Rules | None = None) -> Report:
    """Whether `image` may be loaded into `region` while everything round it runs."""
    return _check(image, region, rules or shipped().partial, with_crc)


def check_full(image: bytes, part: Part, *, with_crc: bool = True, rules: Rules | None = None) -> Report:
    """Whether `image` is a full configuration of `part`: each frame once, nothing that only other images need."""
    everything = np.arange(part.geometry.memory_frames, dtype=np.int32)
    return _check(image, Region(part, "", everything), rules or shipped().full, with_crc)


def _check(image: bytes, region: Region, rules: Rules, with_crc: bool) -> Report:
    try:
        bitstream = read(image)
    except BitstreamError as error:
        return Report((_finding(error, Rule.PACKETS),), False, None)
    inspection = _Inspection(bitstream, region, rules)
    findings = inspection.run()
    if findings or not with_crc:
        return Report(tuple(findings), False, bitstream)
    try:
        bitstream.check_crc()
    except BitstreamError as error:
        return Report((_finding(error, Rule.CRC),), True, bitstream)
    return Report((), True, bitstream)


def _finding(error: BitstreamError, otherwise: Rule) -> Finding:
    rule, offset = error.data.get("rule"), error.data.get("offset")
    word = offset if isinstance(offset, int) and rule is not Rule.HEADER else None
    return Finding(rule if isinstance(rule, Rule) else otherwise, "", str(error), word)


@dataclass(frozen=True)
class _Burst:
    """Frames (n, 101), the number of the frame that each becomes (-1: none), and the first one's word."""

    far: int
    frames: Frames
    landing: Indices
    word: int

    def word_of(self, position: int) -> int:
        return self.word + position * FRAME_WORDS


class _Inspection:
    """One image's way through the rules."""

    def __init__(self, bitstream: Bitstream, region: Region, rules: Rules) -> None:
        self._bitstream = bitstream
        self._region = region
        self._part = region.part
        self._rules = rules
        self._findings: list[Finding] = []
        self._far: Packet | None = None
        self._mask: Packet | None = None
        self._command: int | None = None
        self._control = 0
        self._steps: list[str] = []
        self._bursts: list[_Burst] = []
        self._resets: list[_Burst] = []
        self._is_guarded = False
        self._is_crc_reset = False
        self._is_framed = False

    def run(self) -> list[Finding]:
        """Every finding, up to `MOST_FINDINGS`."""
        self._check_part()
        for packet in self._bitstream.packets:
            self._packet(packet)
            if len(self._findings) >= MOST_FINDINGS:
                return self._findings
        self._check_end()
        self._check_sequence()
        for reset in self._resets:
            self._check_reset(reset)
        self._check_pads()
        if not self._check_inside():
            self._check_passes()
        # What says most to a person comes first.
        self._findings.sort(key=lambda finding: finding.rule not in (Rule.FRAMES_OUTSIDE, Rule.FRAMES_MISSING))
        return self._findings[:MOST_FINDINGS]

    def _add(self, rule: Rule, expected: str, came: str, word: int | None = None) -> None:
        self._findings.append(Finding(rule, expected, came, word))

    # Packets ---------------------------------------------------------------------------------------------------------

    def _check_part(self) -> None:
        text, ours = self._bitstream.header.part, self._part.text
        if not text.startswith(ours) or text[len(ours) :][:1].isdigit():
            self._add(Rule.PART, f"a part that begins with {ours!r}", f"the header names part {text[:60]!r}")

    def _packet(self, packet: Packet) -> None:
        register, at = packet.register, packet.offset
        if packet.opcode is not Opcode.WRITE:
            self._add(Rule.READ, "writes alone", f"register {packet.name} is read", at)
            return
        if register not in self._rules.registers:
            allowed = ", ".join(sorted(Register(known).name for known in self._rules.registers))
            if register in (Register.CTL0, Register.CTL1):
                self._mask = None
            purpose = f": {_PURPOSE[Register(register)]}" if register in _PURPOSE else ""
            self._add(Rule.REGISTER, f"writes to {allowed}", f"register {packet.name} is written{purpose}", at)
            return
        if packet.value is None or (packet.count != 1 and register != Register.FDRI):
            self._add(Rule.PACKETS, "one word", f"{packet.count} words are written to {packet.name}", at)
            return
        if self._mask is not None and register not in (Register.CTL0, Register.CTL1):
            self._forget_mask()
        self._write(packet, packet.value)

    def _write(self, packet: Packet, value: int) -> None:
        register, at = packet.register, packet.offset
        if register == Register.CMD:
            self._take_command(value, at)
        elif register == Register.FAR:
            self._forget_far()
            self._far = packet
        elif register == Register.FDRI:
            self._take_frames(packet)
        elif register == Register.MASK:
            self._mask = packet
        elif register in (Register.CTL0, Register.CTL1):
            self._check_control(packet, value)
        elif register == Register.IDCODE and not self._part.answers(value):
            other = part_of(value)
            named = f" ({other.name})" if other else ""
            ours = f"{self._part.idcode:08X} of {self._part.name}, the revision aside"
            self._add(Rule.IDCODE, ours, f"the image is for IDCODE {value:08X}{named}", at)
        elif register == Register.CRC:
            self._is_guarded = True
        elif value not in self._rules.values.get(register, (value,)):
            words = ", ".join(f"{word:08X}" for word in sorted(self._rules.values[register]))
            self._add(Rule.VALUE, words, f"{packet.name} is set to {value:08X}", at)

    def _take_command(self, value: int, at: int) -> None:
        name = Command(value).name if value in Command._value2member_map_ else f"{value:X}h"
        self._command = value
        if value not in self._rules.commands:
            allowed = ", ".join(sorted(Command(known).name for known in self._rules.commands))
            self._add(Rule.COMMAND, f"commands {allowed}", f"command {name} is given", at)
        elif value == Command.RCRC and self._is_framed:
            self._add(Rule.CRC_RESET, "RCRC before the first frame alone", "the CRC is reset behind frames", at)
        elif value == Command.RCRC:
            self._is_crc_reset = True
        elif value not in ANYWHERE:
            self._steps.append(name)

    def _check_control(self, packet: Packet, value: int) -> None:
        mask, self._mask = self._mask, None
        if mask is None or mask.value is None:
            self._add(Rule.CONTROL, "a MASK right before it", f"{packet.name} is written without", packet.offset)
        elif (packet.register, mask.value, value) not in self._rules.control:
            allowed = (
                f"{Register(register).name} {word:X}/{bits:X}" for register, bits, word in sorted(self._rules.control)
            )
            came = f"{packet.name} is set to {value:X} under mask {mask.value:X}"
            self._add(Rule.CONTROL, f"value/mask of {', '.join(allowed)}", came, packet.offset)
        elif packet.register == Register.CTL0:
            self._control = self._control & ~mask.value | value & mask.value

    def _forget_mask(self) -> None:
        if self._mask is not None:
            self._add(Rule.CONTROL, "a control register right behind it", "a MASK stands alone", self._mask.offset)
            self._mask = None

    def _forget_far(self) -> None:
        if self._far is not None:
            came = f"address {self._far.value or 0:08X} is not followed by frames"
            self._add(Rule.FAR, "frames for every address", came, self._far.offset)
            self._far = None

    def _take_frames(self, packet: Packet) -> None:
        far, self._far = self._far, None
        if not self._is_crc_reset and not self._is_framed:
            self._add(
                Rule.CRC_RESET, "RCRC before the first frame", "the CRC starts from nobody knows what", packet.offset
            )
        self._is_guarded, self._is_framed = False, True
        if self._command != Command.WCFG:
            self._add(Rule.WRITE_MODE, "WCFG before frames", "frames are written in another mode", packet.offset)
        count = packet.count // FRAME_WORDS
        if count < self._rules.least_burst:
            came = f"a burst of {count} frames, as debug images and those with a CRC a frame have"
            self._add(Rule.BURST, f"{self._rules.least_burst} frames or more", came, packet.offset)
            return
        if far is None or far.value is None:  # the reader refuses it as well
            self._add(Rule.FAR, "an address of its own", "frames follow frames", packet.offset)
            return
        if far.value >> _FAR_BITS:
            self._add(Rule.FAR, f"{_FAR_BITS} bits", f"address {far.value:08X} has bits of no register", far.offset)
            return
        try:
            landing = self._part.geometry.landing(far.value, count)
        except BitstreamError as error:
            self._add(Rule.FAR, "", str(error), far.offset)
            return
        words = self._bitstream.words[packet.offset : packet.offset + packet.count]
        burst = _Burst(far.value, words.reshape(-1, FRAME_WORDS), landing, packet.offset)
        is_reset = FrameAddress.decode(far.value).block == Block.RESET
        (self._resets if is_reset else self._bursts).append(burst)
        step = MASK if is_reset else FRAMES
        if step is MASK or self._steps[-1:] != [FRAMES]:
            self._steps.append(step)

    def _check_end(self) -> None:
        self._forget_mask()
        if self._far is not None and self._far.value not in self._rules.parked:
            self._forget_far()
        left = self._control & self._rules.cleared
        if left:
            self._add(Rule.CONTROL, "what was set to be cleared again", f"CTL0 ends with {left:X} set")
        if self._bitstream.idcode is None:
            self._add(Rule.IDCODE, f"{self._part.idcode:08X} of {self._part.name}", "the image names no IDCODE")
        if not self._is_guarded and self._is_framed:
            self._add(Rule.CRC_MISSING, "a CRC behind the last frame", "none is compared there")
        if self._bitstream.stray_words:
            came = f"{self._bitstream.stray_words} other words follow the end"
            self._add(Rule.TRAILING, "NOPs and pads behind DESYNC", came)

    def _check_sequence(self) -> None:
        if tuple(self._steps) not in self._rules.sequences:
            shown = ", ".join(self._steps[:8]) + (", ..." if len(self._steps) > 8 else "")
            allowed = "; or ".join(", ".join(steps) for steps in self._rules.sequences)
            self._add(Rule.SEQUENCE, allowed, f"the image does: {shown or 'nothing'}")

    # Frames ----------------------------------------------------------------------------------------------------------

    def _check_reset(self, burst: _Burst) -> None:
        geometry, expected = self._part.geometry, self._region.reset_mask
        first = FrameAddress(Block.RESET, *geometry.rows[0], 0, 0).encode()
        if burst.far != first or burst.frames.shape != expected.shape:
            came = f"{len(burst.frames)} frames from address {burst.far:08X}"
            self._add(Rule.RESET_MASK, f"{len(expected)} frames from {first:08X}", came, burst.word)
            return
        wrong = np.flatnonzero((burst.frames != expected).any(axis=1))
        if not wrong.size:
            return
        position = int(wrong[0])
        number = int(burst.landing[position])
        frame, right = burst.frames[position], expected[position]
        where = geometry.place(number) if number >= 0 else "a pad between reset masks"
        if number < 0 or frame.any() == right.any():
            came = f"{where} holds a value that is no mask"
        elif right.any():
            came = f"{where} is cleared, so that a column outside the partition loses its state"
        else:
            came = f"{where} is set, so that a column of the partition is not reset"
        others = f"; {wrong.size} masks are wrong in all" if wrong.size > 1 else ""
        name = self._region.name or "the region"
        self._add(Rule.RESET_MASK, f"a reset of {name} alone", came + others, burst.word_of(position))

    def _check_pads(self) -> None:
        for burst in self._bursts:
            pads = np.flatnonzero(burst.landing < 0)
            dirty = pads[burst.frames[pads].any(axis=1)]
            if dirty.size:
                at = burst.word_of(int(dirty[0]))
                self._add(Rule.PAD, "zeros in a frame that only pushes others out", "a pad holds data", at)
                return

    def _check_inside(self) -> bool:
        """Whether something lies outside the region; the first place of it is named."""
        allowed, outside, first = self._region.allowed, [], None
        for burst in self._bursts:
            out = np.flatnonzero((burst.landing >= 0) & ~allowed[np.maximum(burst.landing, 0)])
            if out.size:
                first = first or (int(burst.landing[out[0]]), burst.word_of(int(out[0])))
                outside.append(burst.landing[out])
        if first is None:
            return False
        numbers = np.unique(np.concatenate(outside))
        owners = [name for name, frames in self._region.neighbours.items() if np.isin(numbers, frames).any()]
        owned = f", some of them in {', '.join(owners[:5])}" if owners else ""
        if numbers.size + self._region.frames.size == self._part.geometry.memory_frames:
            owned = ": it is a full image"
        place = self._part.geometry.place(first[0])
        expected = f"frames of {self._region.name} alone, which has {self._region.frames.size}"
        came = f"{numbers.size} frames lie outside{owned}; the first is {place}"
        self._add(Rule.FRAMES_OUTSIDE, expected, came, first[1])
        return True

    def _check_passes(self) -> None:
        """Every frame of the region, and as often as it must be, one whole pass after the other."""
        pieces = [burst.landing[burst.landing >= 0] for burst in self._bursts]
        numbers = np.concatenate([*pieces, np.zeros(0, dtype=np.int32)])
        frames, passes = self._region.frames, self._rules.passes
        if numbers.size == passes * frames.size and (np.sort(numbers.reshape(passes, -1), axis=1) == frames).all():
            return
        counts = np.bincount(numbers, minlength=self._part.geometry.memory_frames)
        missing = frames[counts[frames] == 0]
        if missing.size and (self._rules.whole or not numbers.size):
            came = f"{missing.size} frames are not written, the first is {self._part.geometry.place(int(missing[0]))}"
            name = f" of {self._region.name}" if self._region.name else ""
            self._add(Rule.FRAMES_MISSING, f"all {frames.size} frames{name}", came)
            return
        written = Counter(counts[counts > 0].tolist())
        if set(written) == {passes}:
            sorted_passes = np.sort(numbers.reshape(passes, -1), axis=1)
            if (sorted_passes == sorted_passes[0]).all():
                return
            came = "the passes do not cover the same frames"
        else:
            came = ", ".join(f"{number} frames are written {times} x" for times, number in sorted(written.items())[:4])
        self._add(Rule.PASSES, f"each frame {passes} x, in whole passes", came)
