// The dense layer of the layer library: 4 output channels times 8 inputs a cycle.
#include "convoy/dense.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_dense, convoy::DENSE, convoy::dense<4, 8, 1, convoy::DenseTile>)
CONVOY_MODULE(dense, convoy_dense)
