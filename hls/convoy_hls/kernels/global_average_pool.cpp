// The global average pool of the layer library: 8 channels and 2 results a cycle.
#include "convoy/global_average_pool.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_global_average_pool, convoy::GLOBAL_AVERAGE_POOL, convoy::global_average_pool<2, convoy::GlobalAveragePoolTile>)
CONVOY_MODULE(global_average_pool, convoy_global_average_pool)
