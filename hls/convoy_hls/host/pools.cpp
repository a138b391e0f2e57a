// Instances of pools and elementwise kinds that only tests use: other rates, and tiles at whose limits layers are small.
#include "convoy/add.hpp"
#include "convoy/average_pool.hpp"
#include "convoy/concat.hpp"
#include "convoy/edge.hpp"
#include "convoy/global_average_pool.hpp"
#include "convoy/max_pool.hpp"

namespace {

struct SmallTile {
    static const int32_t LINE = 64;
    static const int32_t CHANNELS = 20;
    static const int32_t ROW = 9;
    static const int32_t WINDOW = 5;
    static const int32_t TAPS = 25;
    static const int32_t INPUTS = 3;
};

struct SmallMaxPool : SmallTile {
    static const int32_t INSTANCE = 81;
};

struct SmallAveragePool : SmallTile {
    static const int32_t INSTANCE = 82;
};

struct FastAveragePool : SmallTile {
    static const int32_t INSTANCE = 83;
};

struct SmallGlobalAveragePool : SmallTile {
    static const int32_t INSTANCE = 84;
};

struct SlowAdd {
    static const int32_t INSTANCE = 85;
};

struct SlowerAdd {
    static const int32_t INSTANCE = 86;
};

struct SmallConcat : SmallTile {
    static const int32_t INSTANCE = 87;
};

struct FastGlobalAveragePool : SmallTile {
    static const int32_t INSTANCE = 88;
};

}  // namespace

CONVOY_CORE(convoy_small_max_pool, convoy::MAX_POOL, convoy::max_pool<SmallMaxPool>)
CONVOY_CORE(convoy_small_average_pool, convoy::AVERAGE_POOL, convoy::average_pool<1, SmallAveragePool>)
CONVOY_CORE(convoy_fast_average_pool, convoy::AVERAGE_POOL, convoy::average_pool<4, FastAveragePool>)
CONVOY_CORE(convoy_small_global_average_pool, convoy::GLOBAL_AVERAGE_POOL,
            convoy::global_average_pool<1, SmallGlobalAveragePool>)
CONVOY_CORE(convoy_fast_global_average_pool, convoy::GLOBAL_AVERAGE_POOL,
            convoy::global_average_pool<4, FastGlobalAveragePool>)
CONVOY_CORE(convoy_slow_add, convoy::ADD, convoy::add<2, SlowAdd>)
CONVOY_CORE(convoy_slower_add, convoy::ADD, convoy::add<1, SlowerAdd>)
CONVOY_CORE(convoy_small_concat, convoy::CONCAT, convoy::concat<SmallConcat>)
