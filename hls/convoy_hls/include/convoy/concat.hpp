// Inputs one after the other along the channels, each rescaled. LOAD makes a table of every input's 256 values.
//
// An input's last word of a position may be partly empty, and the next input begins in the middle of an output word.
#ifndef CONVOY_CONCAT_HPP
#define CONVOY_CONCAT_HPP

#include "convoy/elementwise.hpp"

namespace convoy {

// Values of an int8.
static const int32_t VALUES = 256;

// Bytes that have not left yet, lowest first, and a word that is to leave before them.
struct Joint {
    Word held;
    int32_t bytes;
    Word late;
    bool is_late;
};

// Adds the lowest `bytes` of a word; `ends` if a position ends with it. Gives at most one word a call, and keeps at
// most one back: a position gives no more words than it takes, and one that ends in two had a call that gave none.
inline void join(Words& out, Joint& joint, Word word, int32_t bytes, bool ends) {
    CONVOY_INLINE
    const Word low = joint.held | (word << (8 * joint.bytes));
    const Word high = joint.bytes == 0 ? 0 : word >> (8 * (WORD - joint.bytes));
    const int32_t reached = joint.bytes + bytes;
    const bool full = reached >= WORD;
    const int32_t over = full ? reached - WORD : reached;
    const Word rest = full ? high : low;
    const bool flush = ends && over > 0;
    const bool some = full || flush;
    const Word next = full ? low : rest;
    if (joint.is_late || some) {
        out.write(joint.is_late ? joint.late : next);
    }
    joint.late = joint.is_late ? next : rest;
    joint.is_late = joint.is_late ? some : full && flush;
    joint.held = ends ? 0 : rest;
    joint.bytes = ends ? 0 : over;
}

// For each input its scale, then its channels, then what each of its values becomes: an entry a cycle. Returns the
// words of a position of all inputs.
template <class Tile, int DEPTH, int INPUTS>
int32_t load_tables(Words& parameters, uint8_t (&tables)[WORD][DEPTH], int32_t (&channels)[INPUTS],
                    const Arguments& a) {
    CONVOY_NO_INLINE
    const int32_t trips = a.inputs * VALUES;
    int32_t input = 0, value = 0, words = 0;
    Word scale = 0;
    CONVOY_COUNTER(counter, "tables", Tile::INSTANCE, 1, 20);
tables:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(DEPTH)
        CONVOY_TRIP(counter, i == 0)
        Word word = 0;
        if (value < 2) {
            word = parameters.read();
        }
        scale = value == 0 ? word : scale;
        if (value == 1) {
            const int32_t wanted = static_cast<int32_t>(word & 0x1FFFFu);
            const int32_t kept = wanted < a.out_channels ? wanted : a.out_channels;
            channels[input] = kept;
            words += words_of(kept);
        }
        const int32_t zero = static_cast<int8_t>(scale_offset(scale) & 0xFF);
        const int32_t made = requantised(static_cast<int8_t>(value) - zero, scale, a.out_zero, a.low, a.high);
        copies:
        CONVOY_UNROLL
        for (int32_t k = 0; k < WORD; k++) {
            tables[k][i] = static_cast<uint8_t>(made);
        }
        const bool ends = value + 1 == VALUES;
        input += ends ? 1 : 0;
        value = ends ? 0 : value + 1;
    }
    return words;
}

// Tile: INPUTS, the most that it takes.
template <class Tile>
void concat(Words& in, Words& parameters, Words& out, const Arguments& a) {
    static uint8_t tables[WORD][Tile::INPUTS * VALUES];
    static int32_t channels[Tile::INPUTS];
    static int32_t words;
    CONVOY_BANKS(tables)
    CONVOY_REGISTERS(channels)
    const int32_t positions = positions_of(a, a.rows);
    if (a.command == IDENTIFY || a.inputs < 1 || a.inputs > Tile::INPUTS ||
        counted(positions, words_of(a.out_channels) + a.inputs) == 0) {
        return;
    }
    if (a.command == LOAD) {
        words = load_tables<Tile>(parameters, tables, channels, a);
        return;
    }
    const int32_t trips = product(positions, words) + 1;
    Joint joint = {0, 0, 0, false};
    int32_t input = 0, channel = 0;
    CONVOY_COUNTER(counter, "concat", Tile::INSTANCE, 1, 9);
concat:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(16777216)
        CONVOY_TRIP(counter, i == 0)
        const bool last = i + 1 == trips;
        Word made = 0;
        int32_t bytes = 0;
        bool ends = false;
        if (!last) {
            const Word taken = in.read();
            const int32_t left = channels[input] - channel;
            bytes = left < WORD ? left : WORD;
            look_up:
            CONVOY_UNROLL
            for (int32_t k = 0; k < WORD; k++) {
                const Word entry = tables[k][input * VALUES + static_cast<uint8_t>((taken >> (8 * k)) & 0xFF)];
                made |= k < bytes ? entry << (8 * k) : 0;
            }
            const bool input_ends = left <= WORD;
            ends = input_ends && input + 1 == a.inputs;
            channel = input_ends ? 0 : channel + WORD;
            input = ends ? 0 : input_ends ? input + 1 : input;
        }
        join(out, joint, made, bytes, ends);
    }
}

}  // namespace convoy

#endif
