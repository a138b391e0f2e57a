// The input, clamped. Takes no parameters.
#ifndef CONVOY_IDENTITY_HPP
#define CONVOY_IDENTITY_HPP

#include "convoy/elementwise.hpp"
#include "convoy/skip.hpp"

namespace convoy {

// Tile: INSTANCE alone.
template <class Tile>
void identity(Words& in, Words& parameters, Words& out, const Arguments& a) {
    const int32_t words = words_of(a.out_channels);
    const int32_t total = counted(positions_of(a, a.rows), words);
    if (a.command == IDENTIFY || a.in_channels != a.out_channels || total == 0) {
        return;
    }
    skip<Tile>(parameters, a.parameter_words);
    if (a.command == LOAD) {
        return;
    }
    int32_t word = 0;
    CONVOY_COUNTER(counter, "clamp", Tile::INSTANCE, 1, 5);
clamp:
    for (int32_t i = 0; i < total; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(16777216)
        CONVOY_TRIP(counter, i == 0)
        const Word taken = in.read();
        Word made = 0;
        each:
        CONVOY_UNROLL
        for (int32_t k = 0; k < WORD; k++) {
            const int32_t value = clamped(element(taken, k), a.low, a.high);
            made |= word * WORD + k < a.out_channels ? byte_of(value) << (8 * k) : 0;
        }
        out.write(made);
        word = word + 1 == words ? 0 : word + 1;
    }
}

}  // namespace convoy

#endif
