// The convolution of the layer library: 4 output channels times 8 input channels a cycle.
#include "convoy/conv2d.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_conv2d, convoy::CONV2D, convoy::conv2d<4, 8, 1, convoy::Conv2dTile>)
CONVOY_MODULE(conv2d, convoy_conv2d)
