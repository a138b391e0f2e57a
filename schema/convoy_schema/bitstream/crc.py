"""The configuration logic's CRC: CRC-32C over 37 bits a word, 32 of data then 5 of the register's address.

It is linear over GF(2), so a long run is cut into lanes that advance side by side, and the lanes' states are joined
through powers of the advance matrix. An error check, not authentication. The reader and the writer call it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

#: CRC-32C, reflected.
POLYNOMIAL = 0x82F63B78
#: Bits that one register write feeds in.
WORD_BITS = 37
ADDRESS_BITS = 5
#: Words that are taken at once: bounds the memory needed beside the image to about 2 MB.
BLOCK = 1 << 18
_BITS = np.arange(32, dtype=np.uint32)
#: Below this many words a step a word is faster than lanes.
FEW = 32


def update(state: int, register: int, words: Words | tuple[int, ...]) -> int:
    """The CRC after writing `words` to `register`, from `state` (0 after RCRC or a CRC write)."""
    if len(words) <= FEW:
        for word in words:
            state = _step(state, int(word), register)
        return state
    values = np.asarray(words, dtype=np.uint32)
    for start in range(0, len(values), BLOCK):
        state = _long(state, register, values[start : start + BLOCK])
    return state


def _step(state: int, word: int, register: int) -> int:
    low, high = _tables()
    state ^= word
    return int(low[state & 0xFFFF]) ^ int(high[state >> 16]) ^ _advance(register, ADDRESS_BITS)


def _long(state: int, register: int, words: Words) -> int:
    lanes = 1 << max(4, round(np.log2(len(words)) / 2 + 2))
    steps = -(-len(words) // lanes)
    # The address bits are folded into the data, so that words of 0 in front leave a state of 0 as it is.
    padded = np.zeros(lanes * steps, dtype=np.uint32)
    start = padded.size - len(words)
    np.bitwise_xor(words, np.uint32(_address_in_data(register)), out=padded[start:])
    padded[start] ^= np.uint32(state)
    return _join(_run(padded.reshape(lanes, steps)), steps)


def _run(lanes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The state of each lane (row) after its words, all from 0."""
    low, high = _tables()
    states = np.zeros(len(lanes), dtype=np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        states ^= column
        states = low[states & 0xFFFF] ^ high[states >> 16]
    return states


def _join(states: NDArray[np.uint32], steps: int) -> int:
    while len(states) > 1:
        states = _apply(_power(steps), states[0::2]) ^ states[1::2]
        steps *= 2
    return int(states[0])


def _apply(matrix: NDArray[np.uint32], vectors: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`matrix` (32 columns, each a word of 32 bits) times each of `vectors`."""
    # 0 - 1 is all ones in uint32: selects the column where the bit is set.
    chosen = np.uint32(0) - (vectors[:, None] >> _BITS & np.uint32(1))
    return np.asarray(np.bitwise_xor.reduce(chosen & matrix, axis=1), dtype=np.uint32)


@lru_cache(maxsize=512)
def _power(steps: int) -> NDArray[np.uint32]:
    """The matrix that advances a state by `steps` words of zero."""
    if steps == 1:
        return _word_matrix()
    half = _power(steps // 2)
    even = _apply(half, half)
    return _apply(_word_matrix(), even) if steps % 2 else even


@lru_cache(maxsize=1)
def _word_matrix() -> NDArray[np.uint32]:
    return np.array([_advance(1 << bit, WORD_BITS) for bit in range(32)], dtype=np.uint32)


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Advance by one word of the low and of the high 16 bits of a state."""
    matrix = _word_matrix()
    return _table(matrix[:16]), _table(matrix[16:])


def _table(columns: NDArray[np.uint32]) -> NDArray[np.uint32]:
    table = np.zeros(1, dtype=np.uint32)
    for column in columns:
        table = np.concatenate([table, table ^ column])
    return table


@lru_cache(maxsize=64)
def _advance(state: int, bits: int) -> int:
    for _ in range(bits):
        state = state >> 1 ^ (POLYNOMIAL if state & 1 else 0)
    return state


@lru_cache(maxsize=32)
def _address_in_data(register: int) -> int:
    """What to XOR into a word so that its 37 zero bits do what the five address bits would."""
    state = register
    for _ in range(32):
        # The polynomial's top bit is set, so it tells which way the forward step went.
        state = (state ^ POLYNOMIAL) << 1 | 1 if state >> 31 else state << 1
    return state & 0xFFFFFFFF
