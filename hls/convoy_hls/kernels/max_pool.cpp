// The max-pool of the layer library: a tap of 8 channels a cycle.
#include "convoy/max_pool.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_max_pool, convoy::MAX_POOL, convoy::max_pool<convoy::MaxPoolTile>)
CONVOY_MODULE(max_pool, convoy_max_pool)
