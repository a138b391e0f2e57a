// The largest of each window, clamped; padding is never the largest. Takes no parameters.
#ifndef CONVOY_MAX_POOL_HPP
#define CONVOY_MAX_POOL_HPP

#include "convoy/skip.hpp"
#include "convoy/windows.hpp"

namespace convoy {

// One output row; the rows that the next one needs arrive meanwhile.
template <class Tile, int LINE>
void maximum(Words& in, Words& out, Word (&line)[LINE], const Pool& pool, const Arguments& a, int32_t top, int32_t slot,
             Arrival& arrival) {
    CONVOY_NO_INLINE
    const int32_t trips = product(product(a.out_width, pool.words), pool.taps);
    Walk walk = walk_from(pool, a, top, slot);
    int32_t channel = 0;
    int32_t best[WORD];
    CONVOY_REGISTERS(best)
    clear:
    CONVOY_UNROLL
    for (int32_t k = 0; k < WORD; k++) {
        best[k] = 0;
    }

    CONVOY_COUNTER(counter, "maximum", Tile::INSTANCE, 1, 9);
maximum:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(LINE)
        CONVOY_APART(line)
        CONVOY_TRIP(counter, i == 0)
        arrive(in, line, arrival);
        const bool inside = is_inside(walk, pool, a);
        const Word taken = line[inside ? place_of(walk) : 0];
        Word made = 0;
        compare:
        CONVOY_UNROLL
        for (int32_t k = 0; k < WORD; k++) {
            const int32_t before = walk.step == 0 ? -128 : best[k];
            const int32_t value = inside ? element(taken, k) : -128;
            best[k] = value > before ? value : before;
            made |= channel + k < a.in_channels ? byte_of(clamped(best[k], a.low, a.high)) << (8 * k) : 0;
        }
        if (walk.step + 1 == pool.taps) {
            out.write(made);
            channel = walk.word + 1 == pool.words ? 0 : channel + WORD;
        }
        advance(walk, pool, a, pool.taps);
    }
}

// Tile: LINE words of input rows that are held, CHANNELS, ROW and WINDOW the most that it takes.
template <class Tile>
void max_pool(Words& in, Words& parameters, Words& out, const Arguments& a) {
    Word line[Tile::LINE];
    CONVOY_BLOCK_RAM(line)
    if (a.command == IDENTIFY || !pool_fits<Tile>(a)) {
        return;
    }
    skip<Tile>(parameters, a.parameter_words);
    if (a.command == LOAD) {
        return;
    }
    const Pool pool = pool_of(a);
samples:
    for (int32_t sample = 0; sample < a.rows; sample++) {
        CONVOY_BOUND(64)
        int32_t have = pool_rows(pool, a, 0);
        Arrival arrival = {product(have, pool.row_words), product(a.pad_top, pool.row_words), pool.ring};
        fill<Tile>(in, line, arrival);
        int32_t slot = 0;
    rows:
        for (int32_t row = 0; row < a.out_height; row++) {
            CONVOY_BOUND(224)
            const int32_t need = pool_rows(pool, a, row + 1);
            arrival.left = product(need - have, pool.row_words);
            have = need;
            maximum<Tile>(in, out, line, pool, a, product(row, a.stride_height), slot, arrival);
            fill<Tile>(in, line, arrival);
            slot += product(a.stride_height, pool.row_words);
            slot = slot >= pool.ring ? slot - pool.ring : slot;
        }
    }
}

}  // namespace convoy

#endif
