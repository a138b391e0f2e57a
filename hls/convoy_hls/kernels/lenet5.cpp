// LeNet-5 for shell `fixed`: a kernel for every layer, images streaming through, no kernel more than 5,000 cycles an
// image. convoy_schema.chain has the same shapes and tiles; a test holds the two together.
//
// Registers: command and rows; the rest is constant. `LOAD` takes the parameters of all kernels, one after the other.
#include "convoy/chain.hpp"
#include "convoy/edge.hpp"

namespace {

struct Fold1 {
    static const int32_t INSTANCE = 101;
};

// 1 x 28 x 28 to 6 x 28 x 28, 5 x 5, padded by 2: 5 rows of a word of 5 pixels, one block of channels.
struct Conv1 {
    typedef Fold1 Fold;
    static const int32_t INSTANCE = 102;
    static const int32_t CHANNELS = 1, KERNEL = 5, PAD = 2, OUT = 6;
    static const int32_t IN_HEIGHT = 28, IN_WIDTH = 28, HEIGHT = 28, WIDTH = 28;
    static const int32_t PE = 8, SIMD = 5, RATE = 2, STEPS = 5;
    static const int32_t LINE = 168, DEPTH = 5, SCALES = 8, ROW = 28, ENTRIES = 56, BLOCKS = 1, WINDOW = 5;
    static const bool RANGES = true;
};

// 2 x 2, four rows of the line buffer.
struct Pool1 {
    static const int32_t INSTANCE = 103;
    static const int32_t CHANNELS = 6, HEIGHT = 28, WIDTH = 28;
    static const int32_t LINE = 112, ROW = 28, WINDOW = 2;
};

struct Fold2 {
    static const int32_t INSTANCE = 104;
};

// 6 x 14 x 14 to 16 x 10 x 10, 5 x 5: 5 rows of 4 words of 30 pixels, two blocks of channels.
struct Conv2 {
    typedef Fold2 Fold;
    static const int32_t INSTANCE = 105;
    static const int32_t CHANNELS = 6, KERNEL = 5, PAD = 0, OUT = 16;
    static const int32_t IN_HEIGHT = 14, IN_WIDTH = 14, HEIGHT = 10, WIDTH = 10;
    static const int32_t PE = 8, SIMD = 8, RATE = 2, STEPS = 20;
    static const int32_t LINE = 240, DEPTH = 40, SCALES = 16, ROW = 10, ENTRIES = 40, BLOCKS = 2, WINDOW = 5;
    static const bool RANGES = true;
};

struct Pool2 {
    static const int32_t INSTANCE = 106;
    static const int32_t CHANNELS = 16, HEIGHT = 10, WIDTH = 10;
    static const int32_t LINE = 80, ROW = 10, WINDOW = 2;
};

struct Dense1 {
    static const int32_t INSTANCE = 107;
    static const int32_t CHANNELS = 16, POSITIONS = 25, OUT = 120;
    static const int32_t PE = 4, SIMD = 8, RATE = 1, STEPS = 50;
    static const int32_t LINE = 50, DEPTH = 1500, SCALES = 120, ROW = 1, ENTRIES = 30, BLOCKS = 30;
    static const bool RANGES = false;
};

struct Dense2 {
    static const int32_t INSTANCE = 108;
    static const int32_t CHANNELS = 120, POSITIONS = 1, OUT = 84;
    static const int32_t PE = 1, SIMD = 8, RATE = 1, STEPS = 15;
    static const int32_t LINE = 15, DEPTH = 1260, SCALES = 84, ROW = 1, ENTRIES = 84, BLOCKS = 84;
    static const bool RANGES = false;
};

struct Dense3 {
    static const int32_t INSTANCE = 109;
    static const int32_t CHANNELS = 84, POSITIONS = 1, OUT = 10;
    static const int32_t PE = 1, SIMD = 8, RATE = 1, STEPS = 11;
    static const int32_t LINE = 11, DEPTH = 110, SCALES = 10, ROW = 1, ENTRIES = 10, BLOCKS = 10;
    static const bool RANGES = false;
};

struct Route {
    static const int32_t INSTANCE = 100;
    // Where each kernel's part of the parameters ends.
    static const int32_t FOLD1 = 1;
    static const int32_t CONV1 = FOLD1 + convoy::Share<Conv1>::WORDS;
    static const int32_t POOL1 = CONV1 + 1;
    static const int32_t FOLD2 = POOL1 + 1;
    static const int32_t CONV2 = FOLD2 + convoy::Share<Conv2>::WORDS;
    static const int32_t POOL2 = CONV2 + 1;
    static const int32_t DENSE1 = POOL2 + convoy::Share<Dense1>::WORDS;
    static const int32_t DENSE2 = DENSE1 + convoy::Share<Dense2>::WORDS;
    static const int32_t DENSE3 = DENSE2 + convoy::Share<Dense3>::WORDS;
};

void route(convoy::Words& parameters, int32_t command, convoy::Words& fold1, convoy::Words& conv1,
           convoy::Words& pool1, convoy::Words& fold2, convoy::Words& conv2, convoy::Words& pool2,
           convoy::Words& dense1, convoy::Words& dense2, convoy::Words& dense3) {
    CONVOY_NO_INLINE
    const int32_t trips = command == convoy::LOAD ? Route::DENSE3 : 0;
    CONVOY_COUNTER(counter, "route", Route::INSTANCE, 1, 4);
route:
    for (int32_t i = 0; i < trips; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(16384)
        CONVOY_TRIP(counter, i == 0)
        const convoy::Word word = parameters.read();
        if (i < Route::FOLD1) {
            fold1.write(word);
        } else if (i < Route::CONV1) {
            conv1.write(word);
        } else if (i < Route::POOL1) {
            pool1.write(word);
        } else if (i < Route::FOLD2) {
            fold2.write(word);
        } else if (i < Route::CONV2) {
            conv2.write(word);
        } else if (i < Route::POOL2) {
            pool2.write(word);
        } else if (i < Route::DENSE1) {
            dense1.write(word);
        } else if (i < Route::DENSE2) {
            dense2.write(word);
        } else {
            dense3.write(word);
        }
    }
}

void lenet5(convoy::Words& in, convoy::Words& parameters, convoy::Words& out, const convoy::Arguments& a) {
    CONVOY_DATAFLOW
    // What a kernel is to keep, by its place; then what each gives the next.
    convoy::Words fold1("fold1"), conv1("conv1"), pool1("pool1"), fold2("fold2"), conv2("conv2"), pool2("pool2");
    convoy::Words dense1("dense1"), dense2("dense2"), dense3("dense3");
    convoy::Words from_fold1("from_fold1"), from_conv1("from_conv1"), from_pool1("from_pool1");
    convoy::Words from_fold2("from_fold2"), from_conv2("from_conv2"), from_pool2("from_pool2");
    convoy::Words from_dense1("from_dense1"), from_dense2("from_dense2");
    CONVOY_FIFO(from_fold1, 32)
    CONVOY_FIFO(from_conv1, 32)
    CONVOY_FIFO(from_pool1, 32)
    CONVOY_FIFO(from_fold2, 64)
    CONVOY_FIFO(from_conv2, 32)
    CONVOY_FIFO(from_pool2, 64)
    CONVOY_FIFO(from_dense1, 16)
    CONVOY_FIFO(from_dense2, 16)
    const int32_t command = a.command;
    const int32_t rows = a.rows;
    route(parameters, command, fold1, conv1, pool1, fold2, conv2, pool2, dense1, dense2, dense3);
    convoy::fold_for<Conv1>(in, fold1, from_fold1, command, rows);
    convoy::folded_conv2d<Conv1>(from_fold1, conv1, from_conv1, command, rows);
    convoy::halving_max_pool<Pool1>(from_conv1, pool1, from_pool1, command, rows);
    convoy::fold_for<Conv2>(from_pool1, fold2, from_fold2, command, rows);
    convoy::folded_conv2d<Conv2>(from_fold2, conv2, from_conv2, command, rows);
    convoy::halving_max_pool<Pool2>(from_conv2, pool2, from_pool2, command, rows);
    convoy::chained_dense<Dense1>(from_pool2, dense1, from_dense1, command, rows);
    convoy::chained_dense<Dense2>(from_dense1, dense2, from_dense2, command, rows);
    convoy::chained_dense<Dense3>(from_dense2, dense3, out, command, rows);
}

}  // namespace

CONVOY_CORE(convoy_lenet5, convoy::CHAIN, lenet5)
CONVOY_MODULE(lenet5_chain, convoy_lenet5)
