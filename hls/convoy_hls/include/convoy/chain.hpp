// A network as one module: kernels in a dataflow, each with its parameters held and its settings brought by `LOAD`.
//
// One parameter stream serves all: `route` gives each kernel the number of words that its shapes make. Every kernel's
// part begins with a word of settings: input and output zero point and clamp.
#ifndef CONVOY_CHAIN_HPP
#define CONVOY_CHAIN_HPP

#include "convoy/conv2d.hpp"
#include "convoy/dense.hpp"
#include "convoy/fold.hpp"
#include "convoy/max_pool.hpp"

namespace convoy {

// What no register of a chain says: a kernel's zero points and clamp, as its settings word gave them.
inline void settle(Arguments& a, Word settings) {
    CONVOY_INLINE
    a.in_zero = element(settings, 0);
    a.out_zero = element(settings, 1);
    a.low = element(settings, 2);
    a.high = element(settings, 3);
}

// A layer of constant shape, with everything else at its neutral value.
inline Arguments shaped(int32_t command, int32_t rows, int32_t in_channels, int32_t in_height, int32_t in_width,
                        int32_t out_channels, int32_t out_height, int32_t out_width) {
    CONVOY_INLINE
    Arguments a = {};
    a.command = command;
    a.rows = rows;
    a.inputs = 1;
    a.in_channels = in_channels;
    a.in_height = in_height;
    a.in_width = in_width;
    a.out_channels = out_channels;
    a.out_height = out_height;
    a.out_width = out_width;
    a.kernel_height = 1;
    a.kernel_width = 1;
    a.stride_height = 1;
    a.stride_width = 1;
    a.dilation_height = 1;
    a.dilation_width = 1;
    a.groups = 1;
    return a;
}

// Words of a weighted kernel's part of `LOAD`: settings, ranges, and for each block scales and steps of weights.
template <class Shape>
struct Share {
    static const int32_t BLOCKS = (Shape::OUT + Shape::PE - 1) / Shape::PE;
    static const int32_t WORDS = 1 + (Shape::RANGES ? BLOCKS : 0) + BLOCKS * Shape::PE * (1 + Shape::STEPS);
};

// The settings of a kernel, which it keeps from one `LOAD` to the next. INSTANCE tells the kernels apart.
template <int INSTANCE>
Word settings_of(Words& parameters, int32_t command) {
    CONVOY_INLINE
    static Word kept;
    if (command == LOAD) {
        kept = parameters.read();
    }
    return kept;
}

// A convolution of stride 1, folded: `Shape::KERNEL` rows high, one column wide over KERNEL x CHANNELS channels.
template <class Shape>
void folded_conv2d(Words& in, Words& parameters, Words& out, int32_t command, int32_t rows) {
    CONVOY_NO_INLINE
    Arguments a = shaped(command, rows, Shape::CHANNELS * Shape::KERNEL, Shape::IN_HEIGHT, Shape::WIDTH, Shape::OUT,
                         Shape::HEIGHT, Shape::WIDTH);
    a.kernel_height = Shape::KERNEL;
    a.pad_top = Shape::PAD;
    settle(a, settings_of<Shape::INSTANCE>(parameters, command));
    conv2d<Shape::PE, Shape::SIMD, Shape::RATE, Shape>(in, parameters, out, a);
}

// The fold before it.
template <class Shape>
void fold_for(Words& in, Words& parameters, Words& out, int32_t command, int32_t rows) {
    CONVOY_NO_INLINE
    const Word settings = settings_of<Shape::INSTANCE - 1>(parameters, command);
    if (command == RUN) {
        fold<Shape::CHANNELS, Shape::KERNEL, typename Shape::Fold>(in, out, rows * Shape::IN_HEIGHT, Shape::IN_WIDTH,
                                                                   Shape::PAD, Shape::WIDTH, element(settings, 0));
    }
}

template <class Shape>
void chained_dense(Words& in, Words& parameters, Words& out, int32_t command, int32_t rows) {
    CONVOY_NO_INLINE
    Arguments a = shaped(command, rows, Shape::CHANNELS, Shape::POSITIONS, 1, Shape::OUT, 1, 1);
    settle(a, settings_of<Shape::INSTANCE>(parameters, command));
    dense<Shape::PE, Shape::SIMD, Shape::RATE, Shape>(in, parameters, out, a);
}

// A pool of 2 x 2, stride 2.
template <class Shape>
void halving_max_pool(Words& in, Words& parameters, Words& out, int32_t command, int32_t rows) {
    CONVOY_NO_INLINE
    Arguments a = shaped(command, rows, Shape::CHANNELS, Shape::HEIGHT, Shape::WIDTH, Shape::CHANNELS,
                         Shape::HEIGHT / 2, Shape::WIDTH / 2);
    a.kernel_height = 2;
    a.kernel_width = 2;
    a.stride_height = 2;
    a.stride_width = 2;
    settle(a, settings_of<Shape::INSTANCE>(parameters, command));
    max_pool<Shape>(in, parameters, out, a);
}

}  // namespace convoy

#endif
