// Eight sums of a word on their way to becoming int8: a few each cycle, while the next word's sums are made.
#ifndef CONVOY_RESCALING_HPP
#define CONVOY_RESCALING_HPP

#include "convoy/words.hpp"

namespace convoy {

// What a result is rescaled with, besides its scale.
struct Range {
    int32_t zero;
    int32_t low;
    int32_t high;
    int32_t channels;  // of a position; beyond them a word is filled with 0
};

// The word that is being rescaled, RATE channels a cycle.
struct Rescaling {
    Word scale;
    Word made;
    int32_t due;      // cycles to go
    int32_t channel;  // the next one
};

inline Rescaling rescaling_none() {
    CONVOY_INLINE
    Rescaling state;
    state.scale = 0;
    state.made = 0;
    state.due = 0;
    state.channel = 0;
    return state;
}

// The sums of the word that begins at `channel` are to become its bytes.
template <int RATE>
void rescale_next(Rescaling& state, int32_t (&waiting)[WORD], const int32_t (&sums)[WORD], Word scale,
                  int32_t channel) {
    CONVOY_INLINE
    hand_over:
    CONVOY_UNROLL
    for (int32_t k = 0; k < WORD; k++) {
        waiting[k] = sums[k];
    }
    state.scale = scale;
    state.due = WORD / RATE;
    state.channel = channel;
}

// A cycle's worth of it; with the last one the word leaves.
template <int RATE>
void rescale_some(Words& out, Rescaling& state, int32_t (&waiting)[WORD], const Range& range) {
    CONVOY_INLINE
    static_assert(RATE == 1 || RATE == 2 || RATE == 4, "a word takes whole cycles, and more than one");
    if (state.due > 0) {
        Word made = 0;
        rescale:
        CONVOY_UNROLL
        for (int32_t k = 0; k < RATE; k++) {
            const int32_t value = requantised(waiting[k], state.scale, range.zero, range.low, range.high);
            made |= state.channel + k < range.channels ? byte_of(value) << (8 * k) : 0;
        }
        shift_on:
        CONVOY_UNROLL
        for (int32_t k = 0; k + RATE < WORD; k++) {
            waiting[k] = waiting[k + RATE];
        }
        state.made = (state.made >> (8 * RATE)) | (made << (8 * (WORD - RATE)));
        state.channel += RATE;
        state.due--;
        if (state.due == 0) {
            out.write(state.made);
        }
    }
}

}  // namespace convoy

#endif
