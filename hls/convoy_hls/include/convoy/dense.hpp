// A matrix times the flattened input, rescaled and clamped: a convolution over the samples of a tile, one each position.
//
// Weights that fit are held from LOAD on; others pass by once for a tile of as many samples as the memories hold.
#ifndef CONVOY_DENSE_HPP
#define CONVOY_DENSE_HPP

#include "convoy/weighted.hpp"

namespace convoy {

// Words of a whole sample: a tensor (C, H, W) arrives position after position.
inline int32_t sample_words(const Arguments& a) {
    return product(product(a.in_height, a.in_width), words_of(a.in_channels));
}

template <int PE, class Tile>
bool dense_fits(const Arguments& a) {
    return a.rows >= 1 && within(a.in_channels, 1, 1, Tile::LINE * WORD) &&
           within(a.in_height, a.in_width, words_of(a.in_channels), Tile::LINE) &&
           within(a.out_channels, 1, 1, Tile::ENTRIES * PE);
}

inline int32_t least(int32_t first, int32_t second) {
    return first < second ? first : second;
}

template <int PE, int SIMD, int RATE, class Tile>
void dense(Words& in, Words& parameters, Words& out, const Arguments& arguments) {
    static_assert(SIMD == WORD, "every input word is full");
    static const int32_t DEEP = Tile::SCALES / RATE;
    static Word weights[PE][Tile::DEPTH];
    static Word scales[RATE][DEEP];
    CONVOY_BANKS(weights)
    CONVOY_BANKS(scales)
    Word line[Tile::LINE];
    int32_t partial[PE][Tile::ROW];
    Word results[Tile::ENTRIES];
    CONVOY_BLOCK_RAM(line)
    CONVOY_BANKS(partial)
    CONVOY_BLOCK_RAM(results)

    if (!dense_fits<PE, Tile>(arguments) || arguments.command == IDENTIFY) {
        return;
    }
    Sweep sweep;
    sweep.words = sample_words(arguments);
    sweep.slots = 1;
    sweep.blocks = (arguments.out_channels + PE - 1) / PE;
    sweep.step_words = sweep.words;
    sweep.dilated_row = 0;
    sweep.dilated_words = 0;
    sweep.in_zero = arguments.in_zero;
    sweep.out_zero = arguments.out_zero;
    sweep.low = arguments.low;
    sweep.high = arguments.high;
    Arguments a = arguments;
    a.in_height = 1;
    a.kernel_height = 1;
    a.kernel_width = 1;
    a.stride_width = 1;
    a.dilation_height = 1;
    a.dilation_width = 1;
    a.pad_top = 0;
    a.pad_left = 0;
    const uint32_t ranges[1] = {static_cast<uint32_t>(sweep.words) << 16};
    const bool held = within(sweep.blocks, sweep.words, 1, Tile::DEPTH) && sweep.blocks * (PE / RATE) <= DEEP;

    if (a.command == LOAD) {
        if (held) {
            load_all<PE, RATE, Tile>(parameters, weights, scales, ranges, a, sweep.blocks);
        }
        return;
    }

    const int32_t tile =
        least(least(Tile::LINE / sweep.words, Tile::ENTRIES / sweep.blocks), least(Tile::ROW, a.rows));
    Departure departure = {0, 0, 0, 0, sweep.blocks, 0};
tiles:
    for (int32_t done = 0; done < a.rows; done += tile) {
        CONVOY_BOUND(64)
        sweep.columns = least(tile, a.rows - done);
        sweep.row_words = product(sweep.columns, sweep.words);
        a.in_width = sweep.columns;
        Arrival arrival = {sweep.row_words, 0, Tile::LINE};
        fill<Tile>(in, line, arrival);
        compute_row<PE, SIMD, RATE, Tile>(in, parameters, out, line, weights, scales, ranges, partial, results, sweep,
                                          a, held, 0, 0, 0, arrival, departure);
        departure.left = product(sweep.columns, sweep.blocks);
        departure.at = 0;
        drain<PE, Tile>(out, results, departure);
    }
}

}  // namespace convoy

#endif
