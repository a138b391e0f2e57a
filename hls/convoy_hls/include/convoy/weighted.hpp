// What conv2d and dense share: PE output channels times SIMD input channels a cycle, over a tile of positions.
//
// Output channels come in blocks of PE. A block's weights are steps of PE words, eight input channels each; a step is
// multiplied in a cycle. Results of a row wait in `results` and leave, in the order of the positions, while the next
// row is computed; the input of the next row arrives meanwhile. Where a memory holds one row only, it waits.
#ifndef CONVOY_WEIGHTED_HPP
#define CONVOY_WEIGHTED_HPP

#include "convoy/words.hpp"

namespace convoy {

// One run's shape, in words and positions, that no loop changes.
struct Sweep {
    int32_t words;         // of an input position
    int32_t row_words;     // of an input row
    int32_t slots;         // rows that the line buffer holds
    int32_t columns;       // of an output row
    int32_t blocks;        // of output channels
    int32_t step_words;    // from one output column to the next
    int32_t dilated_row;   // words from one row of the window to the next
    int32_t dilated_words; // words from one column of the window to the next
    int32_t in_zero;
    int32_t out_zero;
    int32_t low;
    int32_t high;
};

// A part of one block's steps: all of them, or as many as the weight buffer holds.
struct Chunk {
    int32_t block;
    int32_t steps;
    int32_t weights;  // where they begin in the weight buffer
    int32_t scales;   // where the block's scales begin
    int32_t first;    // input word of a position at which the block's range begins
    int32_t words;    // of that range
    int32_t tap_row;  // where in the window the chunk begins
    int32_t tap_column;
    int32_t word;
    bool opens;       // the block's first chunk
    bool closes;      // its last one
    int32_t top;      // padded row at which the window stands
    int32_t slot;     // line buffer's word at which that row begins
};

// Input that is still to arrive, and where in the line buffer.
struct Arrival {
    int32_t left;
    int32_t at;
    int32_t end;  // of the ring
};

// Results that are still to leave.
struct Departure {
    int32_t left;
    int32_t at;
    int32_t block;
    int32_t part;  // which part of the output word comes next
    int32_t blocks;
    Word word;
};

template <int PE>
struct Packing {
    static_assert(PE == 1 || PE == 2 || PE == 4 || PE == 8, "an output word holds whole blocks");
    static const int32_t PARTS = WORD / PE;
};

template <int LINE>
void arrive(Words& in, Word (&line)[LINE], Arrival& arrival) {
    CONVOY_INLINE
    if (arrival.left > 0) {
        line[arrival.at] = in.read();
        arrival.left--;
        arrival.at = arrival.at + 1 == arrival.end ? 0 : arrival.at + 1;
    }
}

template <int PE, int ENTRIES>
void depart(Words& out, Word (&results)[ENTRIES], Departure& departure) {
    CONVOY_INLINE
    if (departure.left > 0) {
        const Word entry = results[departure.at];
        departure.at++;
        departure.left--;
        const Word word = departure.word | (entry << (8 * PE * departure.part));
        const bool ends = departure.block + 1 == departure.blocks;
        const bool full = ends || departure.part + 1 == Packing<PE>::PARTS;
        if (full) {
            out.write(word);
        }
        departure.word = full ? 0 : word;
        departure.part = full ? 0 : departure.part + 1;
        departure.block = ends ? 0 : departure.block + 1;
    }
}

// Input that no computation hides.
template <class Tile, int LINE>
void fill(Words& in, Word (&line)[LINE], Arrival& arrival) {
    CONVOY_NO_INLINE
    const int32_t trips = arrival.left;
    CONVOY_COUNTER(counter, "fill", Tile::INSTANCE, 1, 4);
fill:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(LINE)
        CONVOY_APART(line)
        CONVOY_TRIP(counter, i == 0)
        arrive(in, line, arrival);
    }
}

// Results that no computation hides.
template <int PE, class Tile, int ENTRIES>
void drain(Words& out, Word (&results)[ENTRIES], Departure& departure) {
    CONVOY_NO_INLINE
    const int32_t trips = departure.left;
    CONVOY_COUNTER(counter, "drain", Tile::INSTANCE, 1, 5);
drain:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(ENTRIES)
        CONVOY_TRIP(counter, i == 0)
        depart<PE>(out, results, departure);
    }
}

// Scales of a block (or none), then PE words for each of `steps` steps.
template <int PE, int RATE, class Tile, int DEPTH, int DEEP>
void load(Words& parameters, Word (&weights)[PE][DEPTH], Word (&scales)[RATE][DEEP], int32_t count, int32_t scale,
          int32_t steps, int32_t weight) {
    CONVOY_NO_INLINE
    const int32_t trips = count + steps * PE;
    int32_t lane = 0;
    int32_t bank = 0;
    CONVOY_COUNTER(counter, "load", Tile::INSTANCE, 1, 4);
load:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND((DEPTH + 1) * PE)
        CONVOY_TRIP(counter, i == 0)
        const Word word = parameters.read();
        if (i < count) {
            scale_bank:
            CONVOY_UNROLL
            for (int32_t k = 0; k < RATE; k++) {
                if (k == lane) {
                    scales[k][scale] = word;
                }
            }
            scale = lane + 1 == RATE ? scale + 1 : scale;
            lane = lane + 1 == RATE ? 0 : lane + 1;
        } else {
            weight_bank:
            CONVOY_UNROLL
            for (int32_t k = 0; k < PE; k++) {
                if (k == bank) {
                    weights[k][weight] = word;
                }
            }
            weight = bank + 1 == PE ? weight + 1 : weight;
            bank = bank + 1 == PE ? 0 : bank + 1;
        }
    }
}

// Sums of one chunk of a block over a row of positions and, with its last chunk, their results. Rows and columns are of
// the padded input, of which [pad, pad + extent) is there.
template <int PE, int SIMD, int RATE, class Tile, int LINE, int DEPTH, int DEEP, int ROW, int ENTRIES>
void compute(Words& in, Words& out, Word (&line)[LINE], const Word (&weights)[PE][DEPTH],
             const Word (&scales)[RATE][DEEP], int32_t (&partial)[PE][ROW], Word (&results)[ENTRIES], const Sweep& sweep,
             const Arguments& a, Chunk& chunk, int32_t result, Arrival& arrival, Departure& departure) {
    CONVOY_NO_INLINE
    static_assert(PE % RATE == 0 && RATE < WORD, "RATE results a cycle make up PE in whole cycles");
    const int32_t pace = PE / RATE;
    const int32_t shown = chunk.closes && chunk.steps < pace ? pace : chunk.steps;
    const int32_t trips = product(sweep.columns, shown) + (chunk.closes ? pace : 0);

    int32_t sums[PE];
    int32_t waiting[PE];
    CONVOY_REGISTERS(sums)
    CONVOY_REGISTERS(waiting)
    clear:
    CONVOY_UNROLL
    for (int32_t k = 0; k < PE; k++) {
        sums[k] = 0;
        waiting[k] = 0;
    }

    // Where the window stands: padded column and its word in a row, then the tap in it.
    const int32_t ring = product(sweep.slots, sweep.row_words);
    int32_t step = 0, column = 0, left = 0, left_word = -product(a.pad_left, sweep.words);
    int32_t tap_row = chunk.tap_row, tap_column = chunk.tap_column, word = chunk.word;
    const int32_t first_row = chunk.top + product(tap_row, a.dilation_height);
    const int32_t ahead = chunk.slot + product(tap_row, sweep.dilated_row);  // below two rings
    const int32_t first_slot = ahead >= ring ? ahead - ring : ahead;
    int32_t row = first_row, slot = first_slot;
    int32_t across = product(tap_column, a.dilation_width), across_word = product(tap_column, sweep.dilated_words);
    const int32_t first_across = across, first_across_word = across_word;
    int32_t weight = chunk.weights;
    int32_t next_row = 0, next_column = 0, next_word = 0;

    // The results that are being rescaled.
    int32_t due = 0, due_scale = chunk.scales, due_channel = 0;
    Word entry = 0;
    const int32_t channel = chunk.block * PE;

    CONVOY_COUNTER(counter, "compute", Tile::INSTANCE, 1, 24);
compute:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(LINE * ROW)
        CONVOY_APART(line)
        CONVOY_APART(partial)
        CONVOY_APART(results)
        CONVOY_TRIP(counter, i == 0)
        arrive(in, line, arrival);
        depart<PE>(out, results, departure);

        if (due > 0) {
            Word made = 0;
            rescale:
            CONVOY_UNROLL
            for (int32_t k = 0; k < RATE; k++) {
                const Word scale = scales[k][due_scale];
                const int32_t value =
                    requantised(waiting[k] + scale_offset(scale), scale, sweep.out_zero, sweep.low, sweep.high);
                made |= due_channel + k < a.out_channels ? byte_of(value) << (8 * k) : 0;
            }
            entry = (entry >> (8 * RATE)) | (made << (8 * (PE - RATE)));
            advance:
            CONVOY_UNROLL
            for (int32_t k = 0; k + RATE < PE; k++) {
                waiting[k] = waiting[k + RATE];
            }
            due--;
            due_scale++;
            due_channel += RATE;
            if (due == 0) {
                results[result] = entry;
                result += sweep.blocks;
            }
        }

        if (column < sweep.columns) {
            if (step < chunk.steps) {
                const int32_t at = left + across;
                const bool inside = row >= a.pad_top && row < a.pad_top + a.in_height && at >= a.pad_left &&
                                    at < a.pad_left + a.in_width;
                const Word taken = line[inside ? slot + left_word + across_word + chunk.first + word : 0];
                multiply:
                CONVOY_UNROLL
                for (int32_t k = 0; k < PE; k++) {
                    int32_t sum = 0;
                    add:
                    CONVOY_UNROLL
                    for (int32_t j = 0; j < SIMD; j++) {
                        const int32_t value = inside ? element(taken, j) - sweep.in_zero : 0;
                        sum += value * element(weights[k][weight], j);
                    }
                    const int32_t before = step > 0 ? sums[k] : chunk.opens ? 0 : partial[k][column];
                    sums[k] = before + sum;
                }
                weight++;
                // The next tap: words, then columns of the window, then its rows.
                const bool word_ends = word + 1 == chunk.words;
                const bool row_ends = word_ends && tap_column + 1 == a.kernel_width;
                word = word_ends ? 0 : word + 1;
                if (row_ends) {
                    tap_column = 0;
                    across = 0;
                    across_word = 0;
                    tap_row++;
                    row += a.dilation_height;
                    slot += sweep.dilated_row;
                    slot = slot >= ring ? slot - ring : slot;
                } else if (word_ends) {
                    tap_column++;
                    across += a.dilation_width;
                    across_word += sweep.dilated_words;
                }
                if (step + 1 == chunk.steps) {
                    keep:
                    CONVOY_UNROLL
                    for (int32_t k = 0; k < PE; k++) {
                        if (chunk.closes) {
                            waiting[k] = sums[k];
                        } else {
                            partial[k][column] = sums[k];
                        }
                    }
                    next_row = tap_row;
                    next_column = tap_column;
                    next_word = word;
                    due = chunk.closes ? pace : 0;
                    due_scale = chunk.scales;
                    due_channel = channel;
                }
            }
            step++;
            if (step == shown) {
                step = 0;
                column++;
                left += a.stride_width;
                left_word += sweep.step_words;
                tap_row = chunk.tap_row;
                tap_column = chunk.tap_column;
                word = chunk.word;
                row = first_row;
                slot = first_slot;
                across = first_across;
                across_word = first_across_word;
                weight = chunk.weights;
            }
        }
    }
    // Where in the window the block's next chunk begins.
    chunk.tap_row = next_row;
    chunk.tap_column = next_column;
    chunk.word = next_word;
}

// The steps of a block whose range has so many words.
inline int32_t steps_of(const Arguments& a, int32_t words) {
    return product(product(a.kernel_height, a.kernel_width), words);
}

// First input word and number of words that a block needs, as the parameters give them.
inline int32_t range_first(uint32_t range) {
    return static_cast<int32_t>(range & 0xFFFFu);
}

inline int32_t range_words(uint32_t range) {
    return static_cast<int32_t>(range >> 16);
}

// All blocks of one row: from the weights that are held, or chunk after chunk from the parameter stream.
template <int PE, int SIMD, int RATE, class Tile, int LINE, int DEPTH, int DEEP, int ROW, int ENTRIES, int BLOCKS>
void compute_row(Words& in, Words& parameters, Words& out, Word (&line)[LINE], Word (&weights)[PE][DEPTH],
                 Word (&scales)[RATE][DEEP], const uint32_t (&ranges)[BLOCKS], int32_t (&partial)[PE][ROW],
                 Word (&results)[ENTRIES], const Sweep& sweep, const Arguments& a, bool held, int32_t top, int32_t slot,
                 int32_t result, Arrival& arrival, Departure& departure) {
    Chunk chunk;
    chunk.top = top;
    chunk.slot = slot;
    chunk.weights = 0;
    chunk.scales = 0;
blocks:
    for (int32_t block = 0; block < sweep.blocks; block++) {
        CONVOY_BOUND(ENTRIES)
        // Dense has one range for all blocks.
        const uint32_t range = ranges[BLOCKS == 1 ? 0 : block];
        const int32_t steps = steps_of(a, range_words(range));
        chunk.block = block;
        chunk.first = range_first(range);
        chunk.words = range_words(range);
        chunk.tap_row = 0;
        chunk.tap_column = 0;
        chunk.word = 0;
    chunks:
        for (int32_t done = 0; done < steps; done += DEPTH) {
            CONVOY_BOUND(64)
            chunk.steps = steps - done < DEPTH ? steps - done : DEPTH;
            chunk.opens = done == 0;
            chunk.closes = done + chunk.steps == steps;
            if (!held) {
                load<PE, RATE, Tile>(parameters, weights, scales, chunk.opens ? PE : 0, 0, chunk.steps, 0);
            }
            compute<PE, SIMD, RATE, Tile>(in, out, line, weights, scales, partial, results, sweep, a, chunk,
                                          result + block, arrival, departure);
        }
        if (held) {
            chunk.weights += steps;
            chunk.scales += PE / RATE;
        }
    }
}

// Parameters of all blocks into the memories that hold them.
template <int PE, int RATE, class Tile, int DEPTH, int DEEP, int BLOCKS>
void load_all(Words& parameters, Word (&weights)[PE][DEPTH], Word (&scales)[RATE][DEEP],
              const uint32_t (&ranges)[BLOCKS], const Arguments& a, int32_t blocks) {
    int32_t weight = 0;
load_blocks:
    for (int32_t block = 0; block < blocks; block++) {
        CONVOY_BOUND(DEEP)
        const int32_t steps = steps_of(a, range_words(ranges[BLOCKS == 1 ? 0 : block]));
        load<PE, RATE, Tile>(parameters, weights, scales, PE, block * (PE / RATE), steps, weight);
        weight += steps;
    }
}

}  // namespace convoy

#endif
