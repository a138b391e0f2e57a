// The concat of the layer library: 8 channels a cycle.
#include "convoy/concat.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_concat, convoy::CONCAT, convoy::concat<convoy::ConcatTile>)
CONVOY_MODULE(concat, convoy_concat)
