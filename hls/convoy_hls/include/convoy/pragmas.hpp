// What only Vitis HLS understands, and what only the g++ build does, as macros that vanish for everybody else.
//
// A loop is `label: for (...) { CONVOY_PIPELINE CONVOY_TRIP(...) ... }`; CONVOY_UNROLL stands before its `for`.
#ifndef CONVOY_PRAGMAS_HPP
#define CONVOY_PRAGMAS_HPP

#if defined(__VITIS_HLS__) || defined(__SYNTHESIS__)
#define CONVOY_VITIS 1
#define CONVOY_PRAGMA(text) _Pragma(#text)
#else
#define CONVOY_PRAGMA(text)
#endif

// A new iteration every cycle. Every loop inside it is unrolled.
#define CONVOY_PIPELINE CONVOY_PRAGMA(HLS PIPELINE II = 1)
// Before a `for` with constant bounds, as clang spells it. In a pipelined loop Vitis unrolls without being told.
#define CONVOY_UNROLL CONVOY_PRAGMA(unroll)
#define CONVOY_INLINE CONVOY_PRAGMA(HLS INLINE)
#define CONVOY_NO_INLINE CONVOY_PRAGMA(HLS INLINE off)
#define CONVOY_DATAFLOW CONVOY_PRAGMA(HLS DATAFLOW)
// The most iterations that the limits allow; only reports read it.
#define CONVOY_BOUND(most) CONVOY_PRAGMA(HLS LOOP_TRIPCOUNT min = 0 max = most)
// One memory per value of the first index, which is a constant wherever it is used.
#define CONVOY_BANKS(array) CONVOY_PRAGMA(HLS ARRAY_PARTITION variable = array dim = 1 complete)
#define CONVOY_BLOCK_RAM(array) CONVOY_PRAGMA(HLS BIND_STORAGE variable = array type = ram_s2p impl = bram)
#define CONVOY_LUT_RAM(array) CONVOY_PRAGMA(HLS BIND_STORAGE variable = array type = ram_s2p impl = lutram)
#define CONVOY_REGISTERS(array) CONVOY_PRAGMA(HLS ARRAY_PARTITION variable = array complete)
// A multiplication in LUTs.
#define CONVOY_IN_FABRIC(product) CONVOY_PRAGMA(HLS BIND_OP variable = product op = mul impl = fabric)
// Reads and writes of different iterations never meet at one address: what is written is read in a later loop.
#define CONVOY_APART(array) CONVOY_PRAGMA(HLS DEPENDENCE variable = array inter false)
// What an iteration writes there is read again no sooner than so many iterations later.
#define CONVOY_AFTER(array, iterations) \
    CONVOY_PRAGMA(HLS DEPENDENCE variable = array inter RAW distance = iterations true)
// A stream between two processes of a dataflow, of so many words.
#define CONVOY_FIFO(stream, words) CONVOY_PRAGMA(HLS STREAM variable = stream depth = words)

// CONVOY_COUNTER stands before a pipelined loop and CONVOY_TRIP, with whether this is its first iteration, in it. A
// loop that is left before its first iteration costs nothing, in the count as in the model.
#ifdef CONVOY_COUNT_TRIPS
#include "convoy/counters.hpp"
#define CONVOY_COUNTER(counter, name, instance, interval, depth) \
    static ::convoy::Counter counter(name, instance, interval, depth)
#define CONVOY_TRIP(counter, first) counter.trip(first);
#else
#define CONVOY_COUNTER(counter, name, instance, interval, depth)
#define CONVOY_TRIP(counter, first)
#endif

#endif
