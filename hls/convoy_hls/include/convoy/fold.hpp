// Lays the columns of a window side by side as channels: a convolution KERNEL wide over CHANNELS channels becomes one
// that is one column wide over KERNEL x CHANNELS. So a first layer of few channels fills the words it multiplies.
//
// Stride and dilation 1. Channel c of the window's column k becomes channel k x CHANNELS + c; convoy_schema.chain folds
// the weights alike. Only chains use it: it needs the pixels of a row one after the other, and its sizes are constants.
#ifndef CONVOY_FOLD_HPP
#define CONVOY_FOLD_HPP

#include "convoy/words.hpp"

namespace convoy {

// A word of so many bytes of one value.
inline Word filled_with(int32_t value) {
    CONVOY_INLINE
    return byte_of(value) * 0x0101010101010101u;
}

// `rows` of `width` positions, `pad` columns of `zero` before and as many after as make `columns` windows.
template <int CHANNELS, int KERNEL, class Tile>
void fold(Words& in, Words& out, int32_t rows, int32_t width, int32_t pad, int32_t columns, int32_t zero) {
    static_assert(CHANNELS <= WORD, "a position is one word");
    const int32_t parts = (CHANNELS * KERNEL + WORD - 1) / WORD;
    const int32_t trips = product(rows, KERNEL - 1 + columns * parts);
    const Word padding = filled_with(zero);
    Word window[KERNEL];
    CONVOY_REGISTERS(window)
clear:
    CONVOY_UNROLL
    for (int32_t k = 0; k < KERNEL; k++) {
        window[k] = 0;
    }
    int32_t column = 0;
    int32_t part = 0;
    CONVOY_COUNTER(counter, "fold", Tile::INSTANCE, 1, 6);
fold:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(1048576)
        CONVOY_TRIP(counter, i == 0)
        if (part == 0) {
        shift:
            CONVOY_UNROLL
            for (int32_t k = 0; k + 1 < KERNEL; k++) {
                window[k] = window[k + 1];
            }
            window[KERNEL - 1] = column >= pad && column < pad + width ? in.read() : padding;
        }
        if (column >= KERNEL - 1) {
            Word word = 0;
        parts:
            CONVOY_UNROLL
            for (int32_t p = 0; p < parts; p++) {
            bytes:
                CONVOY_UNROLL
                for (int32_t j = 0; j < WORD; j++) {
                    const int32_t at = p * WORD + j;
                    if (p == part && at < CHANNELS * KERNEL) {
                        word |= byte_of(element(window[at / CHANNELS], at % CHANNELS)) << (8 * j);
                    }
                }
            }
            out.write(word);
            part = part + 1 == parts ? 0 : part + 1;
        }
        if (part == 0) {
            column = column + 1 == columns + KERNEL - 1 ? 0 : column + 1;
        }
    }
}

}  // namespace convoy

#endif
