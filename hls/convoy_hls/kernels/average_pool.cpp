// The average pool of the layer library: a tap of 8 channels and 2 results a cycle.
#include "convoy/average_pool.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_average_pool, convoy::AVERAGE_POOL, convoy::average_pool<2, convoy::AveragePoolTile>)
CONVOY_MODULE(average_pool, convoy_average_pool)
