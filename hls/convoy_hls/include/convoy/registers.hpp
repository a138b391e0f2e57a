// The AXI-Lite block that every kernel has, as convoy_schema.registers says it; a test holds the two together.
#ifndef CONVOY_REGISTERS_HPP
#define CONVOY_REGISTERS_HPP

#include <cstdint>

// The arguments in the order of their registers: X(name) for each.
#define CONVOY_ARGUMENTS(X) \
    X(command)              \
    X(rows)                 \
    X(inputs)               \
    X(in_channels)          \
    X(in_height)            \
    X(in_width)             \
    X(out_channels)         \
    X(out_height)           \
    X(out_width)            \
    X(kernel_height)        \
    X(kernel_width)         \
    X(stride_height)        \
    X(stride_width)         \
    X(pad_top)              \
    X(pad_left)             \
    X(dilation_height)      \
    X(dilation_width)       \
    X(groups)               \
    X(flags)                \
    X(in_zero)              \
    X(out_zero)             \
    X(low)                  \
    X(high)                 \
    X(in_words)             \
    X(parameter_words)      \
    X(out_words)

// Of a core's parameter list, and of the call of one.
#define CONVOY_DECLARE(name) , int32_t name
#define CONVOY_PASS(name) , name
#define CONVOY_ASSIGN(name) a.name = name;
#define CONVOY_FIELD(name) int32_t name;

namespace convoy {

struct Arguments {
    CONVOY_ARGUMENTS(CONVOY_FIELD)
};

enum Command { IDENTIFY = 0, LOAD = 1, RUN = 2 };

enum KindNumber {
    CONV2D = 1,
    MAX_POOL = 2,
    AVERAGE_POOL = 3,
    GLOBAL_AVERAGE_POOL = 4,
    DENSE = 5,
    ADD = 6,
    CONCAT = 7,
    IDENTITY = 8
};

static const int32_t COUNT_INCLUDE_PAD = 1;
static const uint32_t VERSION = 1;
// No layer: a chain of kernels in one block, which answers 0 in the place of a kind.
static const uint32_t CHAIN = 0;

// What a kernel answers in its identity register.
inline uint32_t identity_of(uint32_t kind) {
    return 0xC5000000u | (kind << 16) | VERSION;
}

}  // namespace convoy

#endif
