// The add of the layer library: 4 results a cycle, which is as fast as 8 bytes of each input arrive.
#include "convoy/add.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_add, convoy::ADD, convoy::add<4, convoy::AddTile>)
CONVOY_MODULE(add, convoy_add)
