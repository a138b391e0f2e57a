// Streams of 64-bit words, the int8 in them, and the one rounding that every layer's result goes through.
#ifndef CONVOY_WORDS_HPP
#define CONVOY_WORDS_HPP

#include <cstdint>
#include <hls_stream.h>

#include "convoy/pragmas.hpp"
#include "convoy/registers.hpp"

namespace convoy {

typedef uint64_t Word;
typedef hls::stream<Word> Words;

// int8 elements of a word, the first one lowest.
static const int32_t WORD = 8;

// Words of one position of a tensor of so many channels.
inline int32_t words_of(int32_t channels) {
    CONVOY_INLINE
    return (channels + WORD - 1) / WORD;
}

// Of shapes and addresses, which come once a run or a row: no DSP, those are the layer's.
inline int32_t product(int32_t first, int32_t second) {
    CONVOY_INLINE
    const int32_t made = first * second;
    CONVOY_IN_FABRIC(made)
    return made;
}

// Element `lane` of a word; `lane` is a constant wherever it matters.
inline int32_t element(Word word, int32_t lane) {
    CONVOY_INLINE
    return static_cast<int8_t>((word >> (8 * lane)) & 0xFF);
}

// An int8 as the lowest byte of a word.
inline Word byte_of(int32_t value) {
    CONVOY_INLINE
    return static_cast<Word>(static_cast<uint8_t>(value));
}

// Whether first x second x third is in [1, most]; `most` is at most 2 ** 20.
inline bool within(int32_t first, int32_t second, int32_t third, int32_t most) {
    CONVOY_INLINE
    if (first < 1 || second < 1 || third < 1 || first > most || second > most || third > most) {
        return false;
    }
    const int64_t pair = static_cast<int64_t>(first) * second;
    const int64_t triple = pair * third;
    CONVOY_IN_FABRIC(pair)
    CONVOY_IN_FABRIC(triple)
    return triple <= most;
}

// A scale's word: an int32 (bias, or an input's zero point) below a 24-bit multiplier below a 6-bit shift.
inline int32_t scale_offset(Word scale) {
    CONVOY_INLINE
    return static_cast<int32_t>(static_cast<uint32_t>(scale & 0xFFFFFFFFu));
}

inline int32_t scale_multiplier(Word scale) {
    CONVOY_INLINE
    return static_cast<int32_t>((scale >> 32) & 0xFFFFFFu);
}

inline int32_t scale_shift(Word scale) {
    CONVOY_INLINE
    return static_cast<int32_t>((scale >> 56) & 63u);
}

inline int32_t clamped(int64_t value, int32_t low, int32_t high) {
    CONVOY_INLINE
    return value < low ? low : value > high ? high : static_cast<int32_t>(value);
}

// value / 2 ** shift, rounded half to even; |value| < 2 ** 62, shift in [0, 62].
inline int64_t round_shift(int64_t value, int32_t shift) {
    CONVOY_INLINE
    const int64_t floor = value >> shift;
    const uint64_t unit = static_cast<uint64_t>(1) << shift;
    const uint64_t rest = static_cast<uint64_t>(value) & (unit - 1);
    const uint64_t half = unit >> 1;
    const bool up = rest > half || (rest == half && rest != 0 && (floor & 1) != 0);
    return floor + (up ? 1 : 0);
}

// A sum as an int8: times its scale, rounded, plus the zero point, clamped.
inline int32_t requantised(int32_t sum, Word scale, int32_t zero, int32_t low, int32_t high) {
    CONVOY_INLINE
    const int64_t product = static_cast<int64_t>(sum) * scale_multiplier(scale);
    return clamped(round_shift(product, scale_shift(scale)) + zero, low, high);
}

}  // namespace convoy

#endif
