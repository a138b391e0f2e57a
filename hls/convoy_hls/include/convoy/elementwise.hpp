// What kinds share that treat a run as one sequence of words, whatever its shape.
#ifndef CONVOY_ELEMENTWISE_HPP
#define CONVOY_ELEMENTWISE_HPP

#include "convoy/words.hpp"

namespace convoy {

// The most words of one tensor in one start: 128 MiB, which is all that a board keeps for activations.
static const int32_t RUN_WORDS = 1 << 24;

// first x second, or 0 when that is not in [1, RUN_WORDS]; one multiplier for all that is counted so.
inline int32_t counted(int32_t first, int32_t second) {
    CONVOY_NO_INLINE
    return within(first, second, 1, RUN_WORDS) ? product(first, second) : 0;
}

// Positions of so many samples; 0 for none, or for more than a run has.
inline int32_t positions_of(const Arguments& a, int32_t samples) {
    CONVOY_INLINE
    const int32_t area = counted(a.in_height, a.in_width);
    return counted(area, samples);
}

}  // namespace convoy

#endif
