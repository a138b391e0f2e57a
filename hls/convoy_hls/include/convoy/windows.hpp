// What the pools share: a window over the rows in a line buffer, one tap of eight channels a cycle.
//
// Results are made position after position, and for each its words in turn, so they leave as they are made.
#ifndef CONVOY_WINDOWS_HPP
#define CONVOY_WINDOWS_HPP

#include "convoy/weighted.hpp"

namespace convoy {

// The most rows that a tensor has.
static const int32_t EXTENT = 65536;

// One run's shape, in words and positions, that no loop changes.
struct Pool {
    int32_t words;          // of a position
    int32_t row_words;      // of an input row
    int32_t reach;          // rows that the window spans
    int32_t slots;          // rows that the line buffer holds
    int32_t ring;           // and their words
    int32_t taps;           // of the window
    int32_t step_words;     // from one output column to the next
    int32_t dilated_row;    // words from one row of the window to the next
    int32_t dilated_words;  // words from one column of the window to the next
};

// Where the window stands: rows and columns are of the padded input, of which [pad, pad + extent) is there.
struct Walk {
    int32_t top;          // the window's first row,
    int32_t first;        // and the line buffer's word at which it begins
    int32_t left;         // the window's first column,
    int32_t left_word;    // and its word in a row of the input
    int32_t word;         // of the position
    int32_t step;         // cycles of this result so far: taps first
    int32_t row;          // the tap's row,
    int32_t slot;         // and the line buffer's word at which it begins
    int32_t tap_column;   // the tap's column in the window,
    int32_t across;       // and in the input, from the window's first one,
    int32_t across_word;  // and in words
};

// Whether d * (k - 1) + 1, what a window of k taps spans, is at most `most`.
inline bool window_fits(int32_t taps, int32_t dilation, int32_t most) {
    CONVOY_INLINE
    return taps == 1 || (dilation >= 1 && within(taps - 1, dilation, 1, most - 1));
}

// Whether the pool in the registers fits the tile; a kernel leaves every stream alone when it does not.
template <class Tile>
bool pool_fits(const Arguments& a) {
    const int32_t most = Tile::WINDOW;
    if (a.rows < 1 || a.out_width < 1 || a.out_width > Tile::ROW || a.in_width > Tile::ROW || a.in_channels < 1 ||
        a.in_channels > Tile::CHANNELS || a.in_height < 1 || a.in_height > EXTENT || a.out_height < 1 ||
        a.out_height > EXTENT) {
        return false;
    }
    if (a.pad_top < 0 || a.pad_top > most || a.pad_left < 0 || a.pad_left > most || a.stride_height < 1 ||
        a.stride_height > most || a.stride_width < 1 || a.stride_width > most) {
        return false;
    }
    if (!window_fits(a.kernel_height, a.dilation_height, most) ||
        !window_fits(a.kernel_width, a.dilation_width, most)) {
        return false;
    }
    const int32_t reach = product(a.dilation_height, a.kernel_height - 1) + 1;
    // A window of nothing but padding has no result, so the first input row is within the first window.
    return a.pad_top < reach && within(reach + a.stride_height, a.in_width, words_of(a.in_channels), Tile::LINE);
}

inline Pool pool_of(const Arguments& a) {
    Pool pool;
    // One tap has no next one, whatever its dilation.
    const int32_t dilation_height = a.kernel_height == 1 ? 0 : a.dilation_height;
    const int32_t dilation_width = a.kernel_width == 1 ? 0 : a.dilation_width;
    pool.words = words_of(a.in_channels);
    pool.row_words = product(a.in_width, pool.words);
    pool.reach = product(dilation_height, a.kernel_height - 1) + 1;
    pool.slots = pool.reach + a.stride_height;
    pool.ring = product(pool.slots, pool.row_words);
    pool.taps = product(a.kernel_height, a.kernel_width);
    pool.step_words = product(a.stride_width, pool.words);
    pool.dilated_row = product(dilation_height, pool.row_words);
    pool.dilated_words = product(dilation_width, pool.words);
    return pool;
}

// Rows of the input, without padding, that have arrived before output row `row` is computed; past the last one, all.
inline int32_t pool_rows(const Pool& pool, const Arguments& a, int32_t row) {
    const int32_t last = product(row, a.stride_height) + pool.reach - a.pad_top;
    return last < 0 ? 0 : last > a.in_height || row >= a.out_height ? a.in_height : last;
}

// Back to the first tap of the window.
inline void restart(Walk& walk) {
    CONVOY_INLINE
    walk.step = 0;
    walk.row = walk.top;
    walk.slot = walk.first;
    walk.tap_column = 0;
    walk.across = 0;
    walk.across_word = 0;
}

// The window at the left end of the output row whose first input row begins at word `first` of the line buffer.
inline Walk walk_from(const Pool& pool, const Arguments& a, int32_t top, int32_t first) {
    CONVOY_INLINE
    Walk walk;
    walk.top = top;
    walk.first = first;
    walk.left = 0;
    walk.left_word = -product(a.pad_left, pool.words);
    walk.word = 0;
    restart(walk);
    return walk;
}

// Whether the tap is of the input, and not of its padding.
inline bool is_inside(const Walk& walk, const Pool& pool, const Arguments& a) {
    CONVOY_INLINE
    const int32_t column = walk.left + walk.across;
    return walk.step < pool.taps && walk.row >= a.pad_top && walk.row < a.pad_top + a.in_height &&
           column >= a.pad_left && column < a.pad_left + a.in_width;
}

// The tap's word in the line buffer, if it is inside.
inline int32_t place_of(const Walk& walk) {
    CONVOY_INLINE
    return walk.slot + walk.left_word + walk.across_word + walk.word;
}

// The next tap; after `steps` cycles the position's next word, and after its last word the next position.
inline void advance(Walk& walk, const Pool& pool, const Arguments& a, int32_t steps) {
    CONVOY_INLINE
    if (walk.step + 1 == steps) {
        const bool ends = walk.word + 1 == pool.words;
        walk.word = ends ? 0 : walk.word + 1;
        walk.left += ends ? a.stride_width : 0;
        walk.left_word += ends ? pool.step_words : 0;
        restart(walk);
    } else {
        const bool ends = walk.tap_column + 1 == a.kernel_width;
        const int32_t below = walk.slot + pool.dilated_row;
        walk.step++;
        walk.row += ends ? a.dilation_height : 0;
        walk.slot = !ends ? walk.slot : below >= pool.ring ? below - pool.ring : below;
        walk.tap_column = ends ? 0 : walk.tap_column + 1;
        walk.across = ends ? 0 : walk.across + a.dilation_width;
        walk.across_word = ends ? 0 : walk.across_word + pool.dilated_words;
    }
}

}  // namespace convoy

#endif
