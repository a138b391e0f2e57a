// How often each pipelined loop was entered and went round. Only in the g++ build that counts; never in hardware.
#ifndef CONVOY_COUNTERS_HPP
#define CONVOY_COUNTERS_HPP

#include <cstdint>

namespace convoy {

// One pipelined loop of one instance of a kernel. It lives as long as the library and is found through `first`.
struct Counter {
    const char* name;
    int32_t instance;
    int32_t interval;  // cycles from one iteration to the next
    int32_t depth;     // cycles of one iteration, and of entering and leaving the loop
    int64_t entries;
    int64_t trips;
    Counter* next;

    Counter(const char* loop, int32_t of, int32_t each, int32_t deep)
        : name(loop), instance(of), interval(each), depth(deep), entries(0), trips(0), next(first()) {
        first() = this;
    }

    void trip(bool is_first) {
        entries += is_first ? 1 : 0;
        trips++;
    }

    static Counter*& first() {
        static Counter* head = nullptr;
        return head;
    }
};

}  // namespace convoy

#endif
