// Two tensors added in the finer of their two fixed points, rounded once. Both scales are held from LOAD on.
#ifndef CONVOY_ADD_HPP
#define CONVOY_ADD_HPP

#include "convoy/elementwise.hpp"

namespace convoy {

// An input's scale: element less `zero`, times `multiplier`, times 2 ** `up`, is in the common fixed point.
struct Term {
    int32_t zero;
    int32_t multiplier;
    int32_t up;
};

inline Term term_of(Word scale, int32_t common) {
    CONVOY_INLINE
    Term term;
    term.zero = static_cast<int8_t>(scale_offset(scale) & 0xFF);
    term.multiplier = scale_multiplier(scale);
    term.up = common - scale_shift(scale);
    return term;
}

// Below 2 ** 61: shifts differ by at most 28. The shift is of bits, since a negative number has no defined one.
inline int64_t scaled(int32_t value, const Term& term) {
    CONVOY_INLINE
    const int64_t product = static_cast<int64_t>(value - term.zero) * term.multiplier;
    return static_cast<int64_t>(static_cast<uint64_t>(product) << term.up);
}

inline int64_t together(int64_t first, int64_t second) {
    CONVOY_INLINE
    return static_cast<int64_t>(static_cast<uint64_t>(first) + static_cast<uint64_t>(second));
}

template <class Tile>
void load_terms(Words& parameters, Word (&scales)[2]) {
    CONVOY_NO_INLINE
    CONVOY_COUNTER(counter, "load", Tile::INSTANCE, 1, 4);
load:
    for (int32_t i = 0; i < 2; i++) {
        CONVOY_PIPELINE
        CONVOY_TRIP(counter, i == 0)
        scales[0] = scales[1];
        scales[1] = parameters.read();
    }
}

// A word of each input in turn; RATE channels a cycle of the words before them.
template <int RATE, class Tile>
void sums(Words& in, Words& out, const Word (&scales)[2], const Arguments& a, int32_t words, int32_t total) {
    CONVOY_NO_INLINE
    static_assert(RATE == 1 || RATE == 2 || RATE == 4, "two words arrive in no fewer cycles than one leaves");
    const int32_t pace = WORD / RATE;
    const int32_t shifts[2] = {scale_shift(scales[0]), scale_shift(scales[1])};
    const int32_t common = shifts[0] > shifts[1] ? shifts[0] : shifts[1];
    const Term left = term_of(scales[0], common);
    const Term right = term_of(scales[1], common);
    const int32_t trips = product(total, pace) + 2;
    Word early = 0, first = 0, second = 0, made = 0;
    int32_t step = 0, due = 0, taken = 0, word = 0, channel = 0;

    CONVOY_COUNTER(counter, "add", Tile::INSTANCE, 1, 22);
add:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(16777216)
        CONVOY_TRIP(counter, i == 0)
        if (due > 0) {
            Word some = 0;
            rescale:
            CONVOY_UNROLL
            for (int32_t k = 0; k < RATE; k++) {
                const int64_t sum = together(scaled(element(first, k), left), scaled(element(second, k), right));
                const int32_t value = clamped(round_shift(sum, common) + a.out_zero, a.low, a.high);
                some |= channel + k < a.out_channels ? byte_of(value) << (8 * k) : 0;
            }
            made = (made >> (8 * RATE)) | (some << (8 * (WORD - RATE)));
            first >>= 8 * RATE;
            second >>= 8 * RATE;
            channel += RATE;
            due--;
            if (due == 0) {
                out.write(made);
                word = word + 1 == words ? 0 : word + 1;
                channel = word * WORD;
            }
        }
        if (taken < total && step < 2) {
            const Word next = in.read();
            if (step == 0) {
                early = next;
            } else {
                first = early;
                second = next;
                due = pace;
                taken++;
            }
        }
        step = step + 1 == pace ? 0 : step + 1;
    }
}

// Tile: INSTANCE alone.
template <int RATE, class Tile>
void add(Words& in, Words& parameters, Words& out, const Arguments& a) {
    static Word scales[2];
    CONVOY_REGISTERS(scales)
    const int32_t words = words_of(a.out_channels);
    const int32_t total = counted(positions_of(a, a.rows), words);
    if (a.command == IDENTIFY || a.inputs != 2 || a.in_channels != a.out_channels || total == 0) {
        return;
    }
    if (a.command == LOAD) {
        load_terms<Tile>(parameters, scales);
        return;
    }
    sums<RATE, Tile>(in, out, scales, a, words, total);
}

}  // namespace convoy

#endif
