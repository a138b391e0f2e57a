"""What an attacker, a broken tool or a bad wire makes of an image; most of them with every CRC right again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from convoy_schema.bitstream import FRAME_WORDS, Block, Command, FrameAddress, Geometry, Packet, Register, crc, read
from convoy_schema.bitstream.frames import CLOCK_WORD, KEEPS_STATE
from convoy_schema.bitstream.header import Header, build_header
from convoy_schema.bitstream.packets import NOP, SYNC, walk
from numpy.typing import NDArray


def write(register: int, *values: int) -> list[int]:
    """A type 1 packet."""
    return [0x30000000 | register << 13 | len(values), *values]


@dataclass
class Draft:
    """An image taken apart; change `words`, then `sealed()` (every CRC right) or `raw()` (as they are)."""

    header: Header
    words: NDArray[np.uint32]
    geometry: Geometry

    @staticmethod
    def of(image: bytes, geometry: Geometry) -> Draft:
        bitstream = read(image)
        return Draft(bitstream.header, bitstream.words.copy(), geometry)

    def raw(self) -> bytes:
        payload = self.words.astype(">u4").tobytes()
        return build_header(self.header, len(payload)) + payload

    def sealed(self) -> bytes:
        state = 0
        for packet in walk(self.words)[0]:
            if packet.value is None:
                continue
            if packet.register == Register.CRC:
                self.words[packet.offset] = state
                state = 0
            elif packet.register == Register.CMD and packet.value == Command.RCRC:
                state = 0
            else:
                state = crc.update(state, packet.register, self.words[packet.offset : packet.offset + packet.count])
        return self.raw()

    def packets(self, register: int, value: int | None = None) -> list[Packet]:
        found = [packet for packet in walk(self.words)[0] if packet.register == register]
        return [packet for packet in found if value is None or packet.value == value]

    def resets(self) -> Packet | None:
        """The burst of reset masks, if there is one."""
        return next((burst for burst in self._bursts() if self._block(burst) == Block.RESET), None)

    def bursts(self) -> list[Packet]:
        """The bursts of frames."""
        return [burst for burst in self._bursts() if self._block(burst) != Block.RESET]

    def _bursts(self) -> list[Packet]:
        return [packet for packet in self.packets(Register.FDRI) if packet.count]

    def far_of(self, burst: Packet) -> Packet:
        return [far for far in self.packets(Register.FAR) if far.offset < burst.offset][-1]

    def _block(self, burst: Packet) -> int:
        return FrameAddress.decode(self.far_of(burst).value or 0).block

    def head(self, packet: Packet) -> int:
        """Index of a packet's first header word."""
        return packet.offset - (2 if packet.register == Register.FDRI else 1)

    def set(self, packet: Packet, value: int) -> Draft:
        self.words[packet.offset] = value
        return self

    def erase(self, *packets: Packet) -> Draft:
        """NOPs in their place."""
        for packet in packets:
            self.words[self.head(packet) : packet.offset + packet.count] = NOP
        return self

    def insert(self, at: int, words: list[int]) -> Draft:
        self.words = np.insert(self.words, at, np.array(words, dtype=np.uint32))
        return self

    def resize(self, burst: Packet, words: int) -> Draft:
        """Change the number of words of a burst: cut, or filled up with zeros."""
        end = burst.offset + burst.count
        body = np.zeros(words, dtype=np.uint32)
        kept = min(words, burst.count)
        body[:kept] = self.words[burst.offset : burst.offset + kept]
        self.words = np.concatenate([self.words[: burst.offset], body, self.words[end:]])
        self.words[burst.offset - 1] = 2 << 29 | 2 << 27 | words
        return self

    def burst(self, far: int, frames: NDArray[np.uint32]) -> list[int]:
        """The packets that write `frames` (pad included) from `far` on."""
        head = [*write(Register.CMD, Command.WCFG), NOP, *write(Register.FAR, far), NOP, 0x30004000]
        return [*head, 2 << 29 | 2 << 27 | frames.size, *frames.reshape(-1).tolist()]

    def before_restore(self) -> int:
        """Where the frames are over."""
        last = self.bursts()[-1]
        return last.offset + last.count


Mutation = Callable[[Draft], bytes]


def _other_column(draft: Draft, far: int) -> int:
    """The address one column further, or one back at the end of a row."""
    address = FrameAddress.decode(far)
    step = 2 if address.column + 3 < len(draft.geometry.minors(address.block)) else -2
    return replace(address, column=address.column + step).encode()


def _retarget(draft: Draft, count: int | None = None) -> Draft:
    for burst in draft.bursts()[:count]:
        far = draft.far_of(burst)
        draft.set(far, _other_column(draft, far.value or 0))
    return draft


def _mask_word(draft: Draft, is_kept: bool) -> int:
    """Index of the clock word of a mask that keeps its column's state, or of one of the region that does not."""
    resets = draft.resets()
    assert resets is not None
    far = FrameAddress.decode(draft.far_of(draft.bursts()[0]).value or 0)
    if is_kept:
        position = next(n for n in range(60, 228) if draft.words[resets.offset + n * FRAME_WORDS + CLOCK_WORD])
    else:
        position = draft.geometry.rows.index((far.half, far.row)) * (74 + draft.geometry.pads) + far.column
    return resets.offset + position * FRAME_WORDS + CLOCK_WORD


def _set_word(draft: Draft, at: int, value: int) -> bytes:
    draft.words[at] = value
    return draft.sealed()


def _unmask_all(draft: Draft) -> bytes:
    resets = draft.resets()
    assert resets is not None
    draft.words[resets.offset : resets.offset + resets.count] = 0
    return draft.sealed()


def _flip(draft: Draft) -> bytes:
    burst = draft.bursts()[-1]
    draft.words[burst.offset + 7] ^= 0x10
    return draft.raw()


def _insert_early(*words: int) -> Mutation:
    """Behind the reset of the CRC, before the identity."""
    return lambda draft: draft.insert(draft.head(draft.packets(Register.IDCODE)[0]), list(words)).sealed()


def _insert_late(*words: int) -> Mutation:
    """Behind the last frame."""
    return lambda draft: draft.insert(draft.before_restore(), list(words)).sealed()


def _erase(register: int, value: int | None = None, which: int = 0) -> Mutation:
    return lambda draft: draft.erase(draft.packets(register, value)[which]).sealed()


def _erase_resets(draft: Draft) -> bytes:
    resets = draft.resets()
    assert resets is not None
    return draft.erase(draft.far_of(resets), resets).sealed()


def _late_identity(draft: Draft) -> bytes:
    identity = draft.packets(Register.IDCODE)[0]
    value = identity.value or 0
    draft.erase(identity)
    return draft.insert(draft.before_restore(), write(Register.IDCODE, value)).sealed()


def _append(draft: Draft) -> bytes:
    draft.words = np.concatenate([draft.words, draft.words])
    return draft.raw()


def _one_pass(draft: Draft) -> bytes:
    bursts = draft.bursts()
    for burst in bursts[len(bursts) // 2 :]:
        draft.erase(draft.far_of(burst), burst)
    return draft.sealed()


def _dirty_pad(draft: Draft) -> bytes:
    burst = draft.bursts()[0]
    return _set_word(draft, burst.offset + burst.count - 5, 0x1234)


def _odd_burst(draft: Draft) -> bytes:
    burst = draft.bursts()[0]
    return draft.resize(burst, burst.count - 1).sealed()


def _longer(draft: Draft) -> bytes:
    for place in range(len(draft.bursts())):
        burst = draft.bursts()[place]
        draft.resize(burst, burst.count + 3 * FRAME_WORDS)
    return draft.sealed()


def _shorter(draft: Draft) -> bytes:
    for place in range(len(draft.bursts())):
        burst = draft.bursts()[place]
        draft.resize(burst, burst.count - FRAME_WORDS)
        burst = draft.bursts()[place]
        draft.words[burst.offset + burst.count - FRAME_WORDS : burst.offset + burst.count] = 0
    return draft.sealed()


def _extra_burst(draft: Draft) -> bytes:
    frames = np.full((3, FRAME_WORDS), 0xDEADBEEF, dtype=np.uint32)
    frames[-1] = 0
    address = FrameAddress.decode(draft.far_of(draft.bursts()[0]).value or 0)
    far = replace(address, column=address.column + 16).encode()
    return draft.insert(draft.before_restore(), draft.burst(far, frames)).sealed()


def _single_frames(draft: Draft) -> bytes:
    far = draft.far_of(draft.bursts()[0]).value or 0
    frame = np.zeros((1, FRAME_WORDS), dtype=np.uint32)
    return draft.insert(draft.before_restore(), draft.burst(far, frame)).sealed()


def _cut(part: float) -> Mutation:
    return lambda draft: draft.raw()[: int(len(draft.raw()) * part)]


def _cut_payload(part: float) -> Mutation:
    """Cut, with a header that fits."""

    def cut(draft: Draft) -> bytes:
        draft.words = draft.words[: int(len(draft.words) * part)]
        return draft.raw()

    return cut


def _without_end(draft: Draft) -> bytes:
    return draft.erase(draft.packets(Register.CMD, Command.DESYNC)[0]).raw()


def _other_part(draft: Draft) -> bytes:
    draft.header = replace(draft.header, part="7z045ffg900")
    return draft.raw()


def _far_of_first(value: Callable[[int], int]) -> Mutation:
    def mutate(draft: Draft) -> bytes:
        far = draft.far_of(draft.bursts()[0])
        return draft.set(far, value(far.value or 0)).sealed()

    return mutate


def _last_crc_value(draft: Draft) -> bytes:
    last = draft.packets(Register.CRC)[-1]
    return draft.set(last, (last.value or 0) ^ 1).raw()


def _double_resets(draft: Draft) -> bytes:
    resets = draft.resets()
    assert resets is not None
    frames = np.zeros((resets.count // FRAME_WORDS, FRAME_WORDS), dtype=np.uint32)
    return draft.insert(draft.before_restore(), draft.burst(0x01000000, frames)).sealed()


#: name: (mutation, the rule that must be broken). Those of `RESETTING` need an image that resets its region.
MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "flip a data bit": (_flip, "crc"),
    "alter the last CRC": (_last_crc_value, "crc"),
    "retarget every address": (lambda draft: _retarget(draft).raw(), "frames-outside"),
    "retarget every address, sealed": (lambda draft: _retarget(draft).sealed(), "frames-outside"),
    "retarget the first pass, sealed": (lambda draft: _retarget(draft, 1).sealed(), "frames-outside"),
    "an address of no frame": (_far_of_first(lambda far: 0x03BE0000), "far"),
    "an address with high bits": (_far_of_first(lambda far: far | 1 << 31), "far"),
    "an address of the masks": (_far_of_first(lambda far: 0x01000000), "sequence"),
    "frames outside, sealed": (_extra_burst, "frames-outside"),
    "longer bursts, sealed": (_longer, "frames-outside"),
    "shorter bursts, sealed": (_shorter, "frames-missing"),
    "single frames": (_single_frames, "burst"),
    "a burst of no whole frames": (_odd_burst, "burst"),
    "a pad that is not zero": (_dirty_pad, "pad"),
    "one pass only": (_one_pass, "passes"),
    "cut at 10 %": (_cut(0.1), "header"),
    "cut at 50 %": (_cut(0.5), "header"),
    "cut at 99.9 %": (_cut(0.999), "header"),
    "cut at 0": (_cut(0.0), "header"),
    "cut at 75 %, header fitted": (_cut_payload(0.75), "packets"),
    "cut behind the frames, header fitted": (
        lambda draft: replace(draft, words=draft.words[: draft.before_restore()]).raw(),
        "desync",
    ),
    "no end": (_without_end, "desync"),
    "appended image": (_append, "trailing"),
    "another part in the header": (_other_part, "part"),
    "another IDCODE, sealed": (
        lambda draft: draft.set(draft.packets(Register.IDCODE)[0], 0x0372C093).sealed(),
        "idcode",
    ),
    "no IDCODE, sealed": (_erase(Register.IDCODE), "idcode"),
    "IDCODE behind the frames, sealed": (_late_identity, "idcode"),
    "two IDCODEs, sealed": (_insert_early(*write(Register.IDCODE, 0x03727093)), "idcode"),
    "second sync": (lambda draft: draft.insert(draft.before_restore(), [SYNC]).raw(), "second-sync"),
    "MFWR": (_insert_late(*write(Register.MFWR, 0, 0)), "register"),
    "a read": (_insert_late(0x28000000 | Register.STAT << 13 | 1), "read"),
    "a read of frames": (_insert_late(0x28000000 | Register.FDRO << 13 | 101), "read"),
    "CTL1": (_insert_early(*write(Register.MASK, 0xFFFFFFFF), *write(Register.CTL1, 1)), "register"),
    "COR0": (_insert_early(*write(Register.COR0, 0x02003FE5)), "register"),
    "WBSTAR": (_insert_early(*write(Register.WBSTAR, 0x100000)), "register"),
    "TIMER": (_insert_early(*write(Register.TIMER, 1)), "register"),
    "CBC": (_insert_early(*write(Register.CBC, 1)), "register"),
    "an unknown register": (_insert_early(*write(30, 1)), "register"),
    "IPROG": (_insert_late(*write(Register.CMD, Command.IPROG)), "command"),
    "AGHIGH": (_insert_early(*write(Register.CMD, Command.AGHIGH)), "command"),
    "an unknown command": (_insert_early(*write(Register.CMD, 0x8000000D)), "command"),
    "other control bits": (_insert_late(*write(Register.MASK, 0x30), *write(Register.CTL0, 0x30)), "control"),
    "control without a mask": (_insert_late(*write(Register.CTL0, 0)), "control"),
    "control bits left set": (
        lambda draft: draft.erase(draft.packets(Register.MASK)[-1], draft.packets(Register.CTL0)[-1]).sealed(),
        "control",
    ),
    "a mask alone": (_insert_late(*write(Register.MASK, 0xFFFFFFFF)), "control"),
    "a register written twice at once": (_insert_late(*write(Register.FAR, 0, 0)), "packets"),
    "reserved bits": (
        lambda draft: draft.insert(draft.before_restore(), [0x30100000 | Register.FAR << 13 | 1, 0]).raw(),
        "packets",
    ),
    "a NOP with a count": (lambda draft: draft.insert(draft.before_restore(), [0x20000001]).raw(), "packets"),
    "an address without frames": (_insert_late(*write(Register.FAR, 0)), "far"),
    "no CRC behind the frames": (_erase(Register.CRC, which=-1), "crc-missing"),
    "a CRC that is never reset": (_erase(Register.CMD, Command.RCRC), "crc-reset"),
    "a CRC that is reset": (_insert_late(*write(Register.CMD, Command.RCRC)), "crc-reset"),
    "a reset without masks": (_insert_late(*write(Register.CMD, Command.GRESTORE)), "sequence"),
    "a start behind the end": (_insert_late(*write(Register.CMD, Command.START)), "sequence"),
}

RESETTING: dict[str, tuple[Mutation, str]] = {
    "frames after a shutdown without WCFG": (
        lambda draft: draft.erase(draft.packets(Register.CMD, Command.WCFG)[1]).sealed(),
        "write-mode",
    ),
    "unmask a static column": (lambda draft: _set_word(draft, _mask_word(draft, True), 0), "reset-mask"),
    "alter a mask": (lambda draft: _set_word(draft, _mask_word(draft, True), KEEPS_STATE ^ 1 << 31), "reset-mask"),
    "mask a column of the region": (
        lambda draft: _set_word(draft, _mask_word(draft, False), KEEPS_STATE),
        "reset-mask",
    ),
    "unmask everything": (_unmask_all, "reset-mask"),
    "masks twice": (_double_resets, "sequence"),
    "no masks": (_erase_resets, "sequence"),
    "no GRESTORE": (_erase(Register.CMD, Command.GRESTORE), "sequence"),
    "no START": (_erase(Register.CMD, Command.START), "sequence"),
    "no SHUTDOWN": (_erase(Register.CMD, Command.SHUTDOWN), "sequence"),
}


def plain(image: bytes, geometry: Geometry) -> bytes:
    """The image without RESET_AFTER_RECONFIG: no masks, no shutdown, no restore, no start."""
    draft = Draft.of(image, geometry)
    resets = draft.resets()
    assert resets is not None
    draft.erase(draft.far_of(resets), resets)
    for command in (Command.SHUTDOWN, Command.GRESTORE, Command.START):
        draft.erase(*draft.packets(Register.CMD, command))
    return draft.sealed()


def mutate(image: bytes, mutation: Mutation, geometry: Geometry) -> bytes:
    """The image, mutated."""
    return mutation(Draft.of(image, geometry))
