// The sum of all positions less their zero points, times a multiplier that holds 1 / n. Its scale is held from LOAD on.
#ifndef CONVOY_GLOBAL_AVERAGE_POOL_HPP
#define CONVOY_GLOBAL_AVERAGE_POOL_HPP

#include "convoy/elementwise.hpp"
#include "convoy/rescaling.hpp"

namespace convoy {

// A position of fewer words than this takes turns with LAPS sets of sums, so that no sum is wanted again before it is
// written.
static const int32_t LAPS = 4;

// Adds every position of a sample up. Sum w of lap l is entry l * words + w of each bank.
template <class Tile, int DEPTH>
void accumulate(Words& in, int32_t (&sums)[WORD][DEPTH], int32_t positions, int32_t words, int32_t laps,
                int32_t in_zero) {
    CONVOY_NO_INLINE
    const int32_t trips = product(positions, words);
    const int32_t turn = product(laps, words);
    int32_t at = 0;
    bool opens = true;
    CONVOY_COUNTER(counter, "accumulate", Tile::INSTANCE, 1, 7);
accumulate:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(16777216)
        CONVOY_AFTER(sums, 4)
        CONVOY_TRIP(counter, i == 0)
        const Word taken = in.read();
        sum:
        CONVOY_UNROLL
        for (int32_t k = 0; k < WORD; k++) {
            const int32_t before = opens ? 0 : sums[k][at];
            sums[k][at] = before + element(taken, k) - in_zero;
        }
        const bool ends = at + 1 == turn;
        opens = opens && !ends;
        at = ends ? 0 : at + 1;
    }
}

// Adds the laps of each word up, LAPS cycles a word, and rescales the word before it meanwhile.
template <int RATE, class Tile, int DEPTH>
void finish(Words& out, const int32_t (&sums)[WORD][DEPTH], const Arguments& a, int32_t words, int32_t laps,
            Word scale) {
    CONVOY_NO_INLINE
    static const int32_t PACE = WORD / RATE;
    static const int32_t STEPS = PACE > LAPS ? PACE : LAPS;
    const int32_t trips = words * STEPS + PACE - (STEPS - LAPS);
    const Range range = {a.out_zero, a.low, a.high, a.in_channels};
    Rescaling rescaling = rescaling_none();
    int32_t word = 0;
    int32_t step = 0;
    int32_t at = 0;
    int32_t whole[WORD];
    int32_t waiting[WORD];
    CONVOY_REGISTERS(whole)
    CONVOY_REGISTERS(waiting)
    clear:
    CONVOY_UNROLL
    for (int32_t k = 0; k < WORD; k++) {
        whole[k] = 0;
        waiting[k] = 0;
    }
    CONVOY_COUNTER(counter, "finish", Tile::INSTANCE, 1, 20);
finish:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(DEPTH * STEPS)
        CONVOY_TRIP(counter, i == 0)
        rescale_some<RATE>(out, rescaling, waiting, range);
        gather:
        CONVOY_UNROLL
        for (int32_t k = 0; k < WORD; k++) {
            whole[k] = (step == 0 ? 0 : whole[k]) + (step < laps && word < words ? sums[k][at] : 0);
        }
        if (step + 1 == LAPS && word < words) {
            rescale_next<RATE>(rescaling, waiting, whole, scale, word * WORD);
        }
        const bool ends = step + 1 == STEPS;
        word += ends ? 1 : 0;
        at = ends ? word : step + 1 < laps ? at + words : at;
        step = ends ? 0 : step + 1;
    }
}

// Tile: CHANNELS whose sums are held.
template <int RATE, class Tile>
void global_average_pool(Words& in, Words& parameters, Words& out, const Arguments& a) {
    static const int32_t DEPTH = Tile::CHANNELS / WORD > LAPS * LAPS ? Tile::CHANNELS / WORD : LAPS * LAPS;
    static Word scale;
    int32_t sums[WORD][DEPTH];
    CONVOY_BANKS(sums)
    const int32_t positions = positions_of(a, 1);
    const int32_t words = words_of(a.in_channels);
    if (a.command == IDENTIFY || a.rows < 1 || a.in_channels < 1 || a.in_channels > Tile::CHANNELS ||
        counted(positions, words) == 0) {
        return;
    }
    if (a.command == LOAD) {
        scale = parameters.read();
        return;
    }
    const int32_t most = words < LAPS ? LAPS : 1;
    const int32_t laps = positions < most ? positions : most;
samples:
    for (int32_t sample = 0; sample < a.rows; sample++) {
        CONVOY_BOUND(64)
        accumulate<Tile>(in, sums, positions, words, laps, a.in_zero);
        finish<RATE, Tile>(out, sums, a, words, laps, scale);
    }
}

}  // namespace convoy

#endif
