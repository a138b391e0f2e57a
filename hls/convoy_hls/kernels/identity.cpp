// The identity of the layer library: 8 channels a cycle.
#include "convoy/identity.hpp"
#include "convoy/edge.hpp"
#include "convoy/tiles.hpp"

CONVOY_CORE(convoy_identity, convoy::IDENTITY, convoy::identity<convoy::IdentityTile>)
CONVOY_MODULE(identity, convoy_identity)
