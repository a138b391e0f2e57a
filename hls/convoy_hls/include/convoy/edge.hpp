// The edge of a module under Vitis: AXI-Lite registers, AXI streams with TLAST. Nothing else ever includes it.
//
// CONVOY_MODULE(name, core) makes the top function `name` round the extern "C" core; not yet run on Vitis.
#ifndef CONVOY_EDGE_HPP
#define CONVOY_EDGE_HPP

#include "convoy/words.hpp"

#ifdef CONVOY_VITIS
#include <ap_axi_sdata.h>
#include <ap_int.h>

namespace convoy {

typedef ap_axiu<64, 0, 0, 0> Beat;

inline void take(hls::stream<Beat>& from, Words& to, int32_t words) {
    CONVOY_NO_INLINE
take:
    for (int32_t i = 0; i < words; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(16777216)
        to.write(from.read().data.to_uint64());
    }
}

inline void give(Words& from, hls::stream<Beat>& to, int32_t words) {
    CONVOY_NO_INLINE
give:
    for (int32_t i = 0; i < words; i++) {
        CONVOY_PIPELINE
        CONVOY_BOUND(16777216)
        Beat beat;
        beat.data = from.read();
        beat.keep = -1;
        beat.strb = -1;
        beat.last = i + 1 == words;
        to.write(beat);
    }
}

}  // namespace convoy

#define CONVOY_REGISTER(name) CONVOY_PRAGMA(HLS INTERFACE s_axilite port = name)

// `identity` is declared first, so its register is the first of the block.
#define CONVOY_MODULE(name, core)                                                                       \
    extern "C" void name(uint32_t* identity CONVOY_ARGUMENTS(CONVOY_DECLARE),                           \
                         hls::stream<convoy::Beat>& in, hls::stream<convoy::Beat>& parameters,          \
                         hls::stream<convoy::Beat>& out) {                                              \
        CONVOY_PRAGMA(HLS INTERFACE s_axilite port = return)                                            \
        CONVOY_PRAGMA(HLS INTERFACE s_axilite port = identity)                                          \
        CONVOY_ARGUMENTS(CONVOY_REGISTER)                                                               \
        CONVOY_PRAGMA(HLS INTERFACE axis port = in)                                                     \
        CONVOY_PRAGMA(HLS INTERFACE axis port = parameters)                                             \
        CONVOY_PRAGMA(HLS INTERFACE axis port = out)                                                    \
        CONVOY_DATAFLOW                                                                                 \
        convoy::Words in_stream("in");                                                                  \
        convoy::Words parameter_stream("parameters");                                                   \
        convoy::Words out_stream("out");                                                                \
        convoy::take(in, in_stream, in_words);                                                          \
        convoy::take(parameters, parameter_stream, parameter_words);                                    \
        core(in_stream, parameter_stream, out_stream, identity CONVOY_ARGUMENTS(CONVOY_PASS));          \
        convoy::give(out_stream, out, out_words);                                                       \
    }
#else
#define CONVOY_MODULE(name, core)
#endif

// The core of a kind as one function of plain streams and scalars: what g++ tests and what other compilers take.
#define CONVOY_CORE(name, kind, ...)                                                                    \
    extern "C" void name(convoy::Words& in, convoy::Words& parameters, convoy::Words& out,              \
                         uint32_t* identity CONVOY_ARGUMENTS(CONVOY_DECLARE)) {                         \
        convoy::Arguments a;                                                                            \
        CONVOY_ARGUMENTS(CONVOY_ASSIGN)                                                                 \
        *identity = convoy::identity_of(kind);                                                          \
        __VA_ARGS__(in, parameters, out, a);                                                            \
    }

#endif
