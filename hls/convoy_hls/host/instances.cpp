// Instances that only tests use: other PE, SIMD and rates, and tiles so small that everything comes in several pieces.
#include "convoy/conv2d.hpp"
#include "convoy/dense.hpp"
#include "convoy/edge.hpp"
#include "convoy/fold.hpp"

namespace {

struct SmallTile {
    static const int32_t LINE = 256;
    static const int32_t DEPTH = 5;
    static const int32_t SCALES = 8;
    static const int32_t ROW = 16;
    static const int32_t ENTRIES = 64;
    static const int32_t BLOCKS = 32;
    static const int32_t WINDOW = 12;
};

struct SmallConv2d : SmallTile {
    static const int32_t INSTANCE = 91;
};

struct SmallDense : SmallTile {
    static const int32_t INSTANCE = 92;
};

struct WideConv2d : SmallTile {
    static const int32_t DEPTH = 64;
    static const int32_t SCALES = 32;
    static const int32_t INSTANCE = 93;
};

struct WideDense : SmallTile {
    static const int32_t DEPTH = 64;
    static const int32_t SCALES = 32;
    static const int32_t INSTANCE = 94;
};

struct FoldTile {
    static const int32_t INSTANCE = 95;
};

template <int CHANNELS, int KERNEL>
void folding(convoy::Words& in, convoy::Words&, convoy::Words& out, const convoy::Arguments& a) {
    convoy::fold<CHANNELS, KERNEL, FoldTile>(in, out, a.rows * a.in_height, a.in_width, a.pad_left, a.out_width,
                                             a.in_zero);
}

}  // namespace

CONVOY_CORE(convoy_fold_1_5, convoy::CHAIN, folding<1, 5>)
CONVOY_CORE(convoy_fold_3_3, convoy::CHAIN, folding<3, 3>)
CONVOY_CORE(convoy_fold_6_5, convoy::CHAIN, folding<6, 5>)
CONVOY_CORE(convoy_fold_8_2, convoy::CHAIN, folding<8, 2>)
CONVOY_CORE(convoy_small_conv2d, convoy::CONV2D, convoy::conv2d<2, 8, 1, SmallConv2d>)
CONVOY_CORE(convoy_small_dense, convoy::DENSE, convoy::dense<1, 8, 1, SmallDense>)
CONVOY_CORE(convoy_wide_conv2d, convoy::CONV2D, convoy::conv2d<8, 8, 2, WideConv2d>)
CONVOY_CORE(convoy_wide_dense, convoy::DENSE, convoy::dense<8, 8, 4, WideDense>)
