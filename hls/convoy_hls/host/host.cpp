// Runs a core on arrays instead of streams, for ctypes. Built by g++ alone.
//
// The other side is convoy_hls.build. Every stream gets one word more than it should need: a core that takes it has
// read too much, one that leaves more has read too little.
#include <cstdint>
#include <iostream>

#include "convoy/counters.hpp"
#include "convoy/words.hpp"

namespace {

typedef void (*Core)(convoy::Words&, convoy::Words&, convoy::Words&, uint32_t* CONVOY_ARGUMENTS(CONVOY_DECLARE));

void call(Core core, convoy::Words& in, convoy::Words& parameters, convoy::Words& out, uint32_t* identity,
          const int32_t* arguments) {
    // One statement each, since the order in which a call evaluates its arguments is the compiler's choice.
    const int32_t* next = arguments;
#define CONVOY_LOCAL(name) const int32_t name = *next++;
    CONVOY_ARGUMENTS(CONVOY_LOCAL)
    core(in, parameters, out, identity CONVOY_ARGUMENTS(CONVOY_PASS));
}

void put(convoy::Words& stream, const uint64_t* words, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        stream.write(words[i]);
    }
    stream.write(0);
}

int64_t empty(convoy::Words& stream, uint64_t* words, int64_t room) {
    int64_t count = 0;
    while (!stream.empty()) {
        const uint64_t word = stream.read();
        if (count < room) {
            words[count] = word;
        }
        count++;
    }
    return count;
}

}  // namespace

// `left` gets the words that the core left in its input and its parameters (-1: it wanted more). Returns the words it
// wrote, of which at most `room` are in `out`.
extern "C" int64_t convoy_call(Core core, const int32_t* arguments, const uint64_t* in, int64_t in_count,
                               const uint64_t* parameters, int64_t parameter_count, uint64_t* out, int64_t room,
                               uint32_t* identity, int64_t* left) {
    convoy::Words in_stream("in");
    convoy::Words parameter_stream("parameters");
    convoy::Words out_stream("out");
    put(in_stream, in, in_count);
    put(parameter_stream, parameters, parameter_count);
    // An empty stream says so on standard output, once a word; `left` says it once.
    std::cout.setstate(std::ios::failbit);
    call(core, in_stream, parameter_stream, out_stream, identity, arguments);
    std::cout.clear();
    left[0] = empty(in_stream, nullptr, 0) - 1;
    left[1] = empty(parameter_stream, nullptr, 0) - 1;
    return empty(out_stream, out, room);
}

// The loop counters: `convoy_counter` fills one, by number, and returns its name; nullptr past the last.
extern "C" const char* convoy_counter(int32_t number, int64_t* fields) {
    const convoy::Counter* counter = convoy::Counter::first();
    for (int32_t i = 0; i < number && counter != nullptr; i++) {
        counter = counter->next;
    }
    if (counter == nullptr) {
        return nullptr;
    }
    fields[0] = counter->instance;
    fields[1] = counter->interval;
    fields[2] = counter->depth;
    fields[3] = counter->entries;
    fields[4] = counter->trips;
    return counter->name;
}

extern "C" void convoy_reset_counters() {
    for (convoy::Counter* counter = convoy::Counter::first(); counter != nullptr; counter = counter->next) {
        counter->entries = 0;
        counter->trips = 0;
    }
}
