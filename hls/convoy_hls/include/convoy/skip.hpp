// For kinds without parameters, whose parameter stream needs a reader all the same.
#ifndef CONVOY_SKIP_HPP
#define CONVOY_SKIP_HPP

#include "convoy/words.hpp"

namespace convoy {

// Drops what a driver sends.
template <class Tile>
void skip(Words& parameters, int32_t words) {
    CONVOY_NO_INLINE
    CONVOY_COUNTER(counter, "skip", Tile::INSTANCE, 1, 3);
skip:
    for (int32_t i = 0; i < words; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(64)
        CONVOY_TRIP(counter, i == 0)
        parameters.read();
    }
}

}  // namespace convoy

#endif
