// Convolution with any window, stride, padding, dilation and groups, rescaled and clamped.
//
// Weights of at most DEPTH steps are held from LOAD on; others pass by once an output row. A block of PE output
// channels reads the range of input words that its groups need: weights of other channels in the range are zero.
#ifndef CONVOY_CONV2D_HPP
#define CONVOY_CONV2D_HPP

#include "convoy/weighted.hpp"

namespace convoy {

// Elements from the first to the last of a window, ends included; more than `most` when they are.
inline int32_t reach_of(int32_t kernel, int32_t dilation, int32_t most) {
    CONVOY_INLINE
    if (kernel == 1) {
        return 1;
    }
    return within(kernel - 1, dilation, 1, most - 1) ? product(dilation, kernel - 1) + 1 : most + 1;
}

inline bool between(int32_t value, int32_t low, int32_t high) {
    CONVOY_INLINE
    return value >= low && value <= high;
}

// Whether the layer in the registers fits the tile; a kernel leaves every stream alone when it does not.
template <int PE, int SIMD, class Tile>
bool conv2d_fits(const Arguments& a) {
    const int32_t window = Tile::WINDOW;
    const int32_t channels = Tile::BLOCKS * PE;
    const int32_t reach = reach_of(a.kernel_height, a.dilation_height, window);
    const bool swept = reach <= window && reach_of(a.kernel_width, a.dilation_width, window) <= window &&
                       between(a.stride_height, 1, window) && between(a.stride_width, 1, window) &&
                       between(a.pad_top, 0, window) && between(a.pad_left, 0, window) &&
                       between(a.dilation_height, 1, 65536) && between(a.dilation_width, 1, 65536);
    const bool shaped = between(a.in_channels, 1, Tile::LINE * WORD) && between(a.out_channels, 1, channels) &&
                        between(a.in_height, 1, 65536) && between(a.out_height, 1, 65536) &&
                        between(a.in_width, 1, Tile::ROW) && between(a.out_width, 1, Tile::ROW) && a.rows >= 1;
    const bool fed = SIMD == WORD || a.in_channels <= SIMD;
    return swept && shaped && fed && within(reach, a.in_width, words_of(a.in_channels), Tile::LINE) &&
           within(a.out_width, (a.out_channels + PE - 1) / PE, 1, Tile::ENTRIES);
}

// Takes the range of each block; returns the steps of all of them.
template <class Tile, int BLOCKS>
int32_t load_ranges(Words& parameters, uint32_t (&ranges)[BLOCKS], const Arguments& a, int32_t blocks) {
        const int32_t words = words_of(a.in_channels);
    int32_t steps = 0;
    CONVOY_COUNTER(counter, "ranges", Tile::INSTANCE, 1, 6);
ranges:
    for (int32_t i = 0; i < blocks; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(BLOCKS)
        CONVOY_TRIP(counter, i == 0)
        // A range outside the position would read beside the line buffer.
        const uint32_t range = static_cast<uint32_t>(parameters.read());
        const bool good = range_words(range) >= 1 && range_first(range) + range_words(range) <= words;
        const uint32_t kept = good ? range : 1u << 16;
        ranges[i] = kept;
        steps += steps_of(a, range_words(kept));
    }
    return steps;
}

// Rows of the unpadded input that the window needs for output row `row` and those above it.
inline int32_t rows_needed(const Arguments& a, int32_t row, int32_t reach) {
    const int32_t last = product(row, a.stride_height) + reach - a.pad_top;
    return last < 0 ? 0 : last > a.in_height || row + 1 > a.out_height ? a.in_height : last;
}

template <int PE, int SIMD, int RATE, class Tile>
void conv2d(Words& in, Words& parameters, Words& out, const Arguments& a) {
    static const int32_t DEEP = Tile::SCALES / RATE;
    static Word weights[PE][Tile::DEPTH];
    static Word scales[RATE][DEEP];
    static uint32_t ranges[Tile::BLOCKS];
    static bool held;
    CONVOY_BANKS(weights)
    CONVOY_BANKS(scales)
    CONVOY_LUT_RAM(ranges)
    Word line[Tile::LINE];
    int32_t partial[PE][Tile::ROW];
    Word results[Tile::ENTRIES];
    CONVOY_BLOCK_RAM(line)
    CONVOY_BANKS(partial)
    CONVOY_BLOCK_RAM(results)

    if (!conv2d_fits<PE, SIMD, Tile>(a) || a.command == IDENTIFY) {
        return;
    }
    Sweep sweep;
    sweep.words = words_of(a.in_channels);
    sweep.row_words = product(a.in_width, sweep.words);
    sweep.columns = a.out_width;
    sweep.blocks = (a.out_channels + PE - 1) / PE;
    sweep.step_words = product(a.stride_width, sweep.words);
    sweep.dilated_row = product(a.dilation_height, sweep.row_words);
    sweep.dilated_words = product(a.dilation_width, sweep.words);
    sweep.in_zero = a.in_zero;
    sweep.out_zero = a.out_zero;
    sweep.low = a.low;
    sweep.high = a.high;
    const int32_t reach = product(a.dilation_height, a.kernel_height - 1) + 1;
    // Rows of the next window arrive early, and results leave late, where there is room for both.
    const bool early = within(reach + a.stride_height, a.in_width, sweep.words, Tile::LINE);
    const bool late = within(sweep.columns, sweep.blocks, 2, Tile::ENTRIES);
    sweep.slots = early ? reach + a.stride_height : reach;

    if (a.command == LOAD) {
        const int32_t steps = load_ranges<Tile>(parameters, ranges, a, sweep.blocks);
        held = steps <= Tile::DEPTH && sweep.blocks * (PE / RATE) <= DEEP;
        if (held) {
            load_all<PE, RATE, Tile>(parameters, weights, scales, ranges, a, sweep.blocks);
        }
        return;
    }

    const int32_t ring = product(sweep.slots, sweep.row_words);
    Departure departure = {0, 0, 0, 0, sweep.blocks, 0};
    int32_t half = 0;
samples:
    for (int32_t sample = 0; sample < a.rows; sample++) {
        CONVOY_BOUND(64)
        int32_t have = rows_needed(a, 0, reach);
        Arrival arrival = {product(have, sweep.row_words), product(a.pad_top % sweep.slots, sweep.row_words), ring};
        fill<Tile>(in, line, arrival);
        int32_t slot = 0;
    rows:
        for (int32_t row = 0; row < a.out_height; row++) {
            CONVOY_BOUND(224)
            const int32_t need = row + 1 < a.out_height ? rows_needed(a, row + 1, reach) : a.in_height;
            const int32_t words = product(need - have, sweep.row_words);
            arrival.left = early ? words : 0;
            have = need;
            compute_row<PE, SIMD, RATE, Tile>(in, parameters, out, line, weights, scales, ranges, partial, results,
                                              sweep, a, held, product(row, a.stride_height), slot, half, arrival, departure);
            arrival.left = early ? arrival.left : words;
            fill<Tile>(in, line, arrival);
            drain<PE, Tile>(out, results, departure);
            departure.left = product(sweep.columns, sweep.blocks);
            departure.at = half;
            if (late) {
                half = Tile::ENTRIES / 2 - half;
            } else {
                drain<PE, Tile>(out, results, departure);
            }
            slot += product(a.stride_height, sweep.row_words);
            slot = slot >= ring ? slot - ring : slot;
        }
        drain<PE, Tile>(out, results, departure);
    }
}

}  // namespace convoy

#endif
