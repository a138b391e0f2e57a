// The sum of each window less its zero points, times a multiplier that holds 1 / n. Its scales are held from LOAD on.
//
// With padding left out of the count, n depends on where the window stands: there is a scale for every n.
#ifndef CONVOY_AVERAGE_POOL_HPP
#define CONVOY_AVERAGE_POOL_HPP

#include "convoy/rescaling.hpp"
#include "convoy/windows.hpp"

namespace convoy {

// Whether windows cover different numbers of elements that count: the first or the last one reaches into padding.
inline bool counts_differ(const Arguments& a) {
    const int32_t bottom = product(a.out_height - 1, a.stride_height) - a.pad_top +
                           product(a.kernel_height - 1, a.kernel_height == 1 ? 0 : a.dilation_height);
    const int32_t right = product(a.out_width - 1, a.stride_width) - a.pad_left +
                          product(a.kernel_width - 1, a.kernel_width == 1 ? 0 : a.dilation_width);
    const bool padded = a.pad_top > 0 || a.pad_left > 0 || bottom >= a.in_height || right >= a.in_width;
    return padded && (a.flags & COUNT_INCLUDE_PAD) == 0;
}

// Multipliers and shifts, entry n - 1 for n elements, or just one.
template <class Tile, int TAPS>
void load_scales(Words& parameters, uint32_t (&scales)[TAPS], int32_t count) {
    CONVOY_NO_INLINE
    CONVOY_COUNTER(counter, "load", Tile::INSTANCE, 1, 4);
load:
    for (int32_t i = 0; i < count; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(TAPS)
        CONVOY_TRIP(counter, i == 0)
        const Word word = parameters.read();
        scales[i] = static_cast<uint32_t>(word >> 32);
    }
}

// One output row; the rows that the next one needs arrive meanwhile.
template <int RATE, class Tile, int LINE, int TAPS>
void average(Words& in, Words& out, Word (&line)[LINE], const uint32_t (&scales)[TAPS], const Pool& pool,
             const Arguments& a, bool differ, int32_t top, int32_t slot, Arrival& arrival) {
    CONVOY_NO_INLINE
    const int32_t pace = WORD / RATE;
    const int32_t steps = pool.taps > pace ? pool.taps : pace;
    const int32_t last = pool.taps < pace ? pool.taps : pace;  // cycles of the last result beyond its own
    const int32_t results = product(a.out_width, pool.words);
    const int32_t trips = product(results, steps) + last;
    const Range range = {a.out_zero, a.low, a.high, a.in_channels};
    Walk walk = walk_from(pool, a, top, slot);
    Rescaling rescaling = rescaling_none();
    int32_t left = results;
    int32_t covered = 0;
    int32_t channel = 0;
    int32_t sums[WORD];
    int32_t waiting[WORD];
    CONVOY_REGISTERS(sums)
    CONVOY_REGISTERS(waiting)
    clear:
    CONVOY_UNROLL
    for (int32_t k = 0; k < WORD; k++) {
        sums[k] = 0;
        waiting[k] = 0;
    }

    CONVOY_COUNTER(counter, "average", Tile::INSTANCE, 1, 22);
average:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(LINE)
        CONVOY_APART(line)
        CONVOY_TRIP(counter, i == 0)
        arrive(in, line, arrival);
        rescale_some<RATE>(out, rescaling, waiting, range);
        if (left > 0) {
            const bool inside = is_inside(walk, pool, a);
            const Word taken = line[inside ? place_of(walk) : 0];
            const bool opens = walk.step == 0;
            sum:
            CONVOY_UNROLL
            for (int32_t k = 0; k < WORD; k++) {
                sums[k] = (opens ? 0 : sums[k]) + (inside ? element(taken, k) - a.in_zero : 0);
            }
            covered = (opens ? 0 : covered) + (inside ? 1 : 0);
            if (walk.step + 1 == pool.taps) {
                const Word scale = static_cast<Word>(scales[differ && covered > 0 ? covered - 1 : 0]) << 32;
                rescale_next<RATE>(rescaling, waiting, sums, scale, channel);
                channel = walk.word + 1 == pool.words ? 0 : channel + WORD;
            }
            left -= walk.step + 1 == steps ? 1 : 0;
            advance(walk, pool, a, steps);
        }
    }
}

// Tile: LINE words of input rows and TAPS scales that are held, CHANNELS, ROW and WINDOW the most that it takes.
template <int RATE, class Tile>
void average_pool(Words& in, Words& parameters, Words& out, const Arguments& a) {
    static uint32_t scales[Tile::TAPS];
    CONVOY_BLOCK_RAM(scales)
    Word line[Tile::LINE];
    CONVOY_BLOCK_RAM(line)
    if (a.command == IDENTIFY || !pool_fits<Tile>(a) || !within(a.kernel_height, a.kernel_width, 1, Tile::TAPS)) {
        return;
    }
    const Pool pool = pool_of(a);
    const bool differ = counts_differ(a);
    if (a.command == LOAD) {
        load_scales<Tile>(parameters, scales, differ ? pool.taps : 1);
        return;
    }
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
            average<RATE, Tile>(in, out, line, scales, pool, a, differ, product(row, a.stride_height), slot, arrival);
            fill<Tile>(in, line, arrival);
            slot += product(a.stride_height, pool.row_words);
            slot = slot >= pool.ring ? slot - pool.ring : slot;
        }
    }
}

}  // namespace convoy

#endif
