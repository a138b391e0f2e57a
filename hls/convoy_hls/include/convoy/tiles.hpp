// The tile of each module of the layer library: how big its local memories are. convoy_schema.tiles says the same in
// Python, and a test holds the two together.
//
// A tile is a template argument, so each instance has memories of its own; loops are counted by INSTANCE, which is the
// number of the kind, or above 100 for a kernel inside a chain.
#ifndef CONVOY_TILES_HPP
#define CONVOY_TILES_HPP

#include <cstdint>

namespace convoy {

// Of conv2d and dense. Bytes follow: LINE * 8, DEPTH * PE * SIMD, SCALES * 8, ROW * PE * 4, ENTRIES * PE.
struct WeightedTile {
    static const int32_t LINE = 4096;     // words of input that are held
    static const int32_t DEPTH = 512;     // steps (PE x SIMD weights each) that are held
    static const int32_t SCALES = 512;    // output channels whose scales are held
    static const int32_t ROW = 512;       // positions of an output row, and samples of a dense tile
    static const int32_t ENTRIES = 4096;  // results of a row, PE channels each; of two where they fit
    static const int32_t BLOCKS = 512;    // rounds of PE output channels whose range of inputs is held
    static const int32_t WINDOW = 64;     // a kernel's reach, stride and padding
};

struct Conv2dTile : WeightedTile {
    static const int32_t INSTANCE = 1;
};

struct DenseTile : WeightedTile {
    static const int32_t INSTANCE = 5;
};

// Of the pools over a window. Bytes follow: LINE * 8, TAPS * 4.
struct PoolTile {
    static const int32_t LINE = 8192;      // words of input that are held
    static const int32_t CHANNELS = 4096;  // the most of a tensor
    static const int32_t ROW = 1024;       // positions of an input or output row
};

struct MaxPoolTile : PoolTile {
    static const int32_t WINDOW = 64;  // a window's reach, stride and padding
    static const int32_t INSTANCE = 2;
};

struct AveragePoolTile : PoolTile {
    static const int32_t WINDOW = 32;
    static const int32_t TAPS = 1024;  // scales that are held: one for each number of elements that a window covers
    static const int32_t INSTANCE = 3;
};

struct GlobalAveragePoolTile {
    static const int32_t CHANNELS = 4096;  // whose sums are held
    static const int32_t INSTANCE = 4;
};

struct AddTile {
    static const int32_t INSTANCE = 6;
};

struct ConcatTile {
    static const int32_t INPUTS = 8;
    static const int32_t INSTANCE = 7;
};

struct IdentityTile {
    static const int32_t INSTANCE = 8;
};

}  // namespace convoy

#endif
