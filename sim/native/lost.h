// What MATMUL did in every cycle of a program, and for what it waited: each cycle has exactly one cause.
//
// `done` of an instruction comes PIXEL_LATENCY cycles after its last pixel went out, so a cycle is classified
// PIXEL_LATENCY cycles late: by then it is known which instruction had pixels left in it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "archive.h"
#include "files.h"
#include "node_shape.h"
#include "profile.h"

namespace superlip {

// superlip.sim.result.Cause has the same numbers.
enum Cause : uint8_t {
    PIXEL,         // a pixel went out
    FEEDING,       // the next weights are not in the shadow registers: FEED loads them, or has no instruction
    WEIGHTS_DRAM,  // ... and FEED waits for LOAD
    WEIGHTS_LINK,  // ... and FEED waits for the other node
    LOADED,        // the next instruction waits for LOAD
    VECTORS,       // for VECTOR
    LINK,          // for the other node
    OTHERS,        // for another unit
    NOTHING,       // there is no next instruction, or nothing that it waits for
};

constexpr uint16_t NO_TAG = 0xFFFF;  // of no instruction

// One record of lost.bin; sim/result.py has the same layout as a numpy dtype.
struct LostRecord {
    int32_t image;  // -1: the init programs
    uint16_t node, segment;
    uint32_t instruction;  // of MATMUL in this segment, in order
    uint16_t tag;          // of the instruction
    uint16_t other;        // LOADED: what LOAD was at; VECTORS, LINK, NOTHING: what VECTOR was at; or NO_TAG
    uint32_t cause, cycles;
};
static_assert(sizeof(LostRecord) == 24);

class LostCycles {
  public:
    // Cycle t: the units' status words, and whether an instruction of MATMUL was taken or done.
    void step(uint64_t t, const uint32_t *statuses, bool taken, bool done) {
        if (seen_ == 0) began_ = t;
        if (taken) taken_.push_back(seen_);
        if (seen_ >= LATENCY) settle(done, statuses[shape::MATMUL]);
        recent_[seen_++ % LATENCY] = what(statuses);
    }

    // Append the cycles from start to finish - 1 to a file and begin again.
    void drain(OutputFile &file, int image, int segment, int node, uint64_t start, uint64_t finish) {
        while (settled_ < seen_) settle(false, 0);
        close(instruction_ || segment > 0 ? last_tag_ : 0);
        if (!records_.empty()) {  // before its program and behind it a node has nothing to do
            auto idle = [](const LostRecord &r) { return r.cause == NOTHING && r.other == NO_TAG; };
            auto cut = [&](auto begin, auto end, uint64_t cycles) {
                auto r = std::find_if(begin, end, idle);
                if (r != end) r->cycles -= uint32_t(std::min<uint64_t>(r->cycles, cycles));
            };
            cut(records_.begin(), records_.end(), start - std::min(start, began_));
            cut(records_.rbegin(), records_.rend(), began_ + seen_ - std::min(began_ + seen_, finish));
        }
        for (LostRecord &r : records_) {
            r.image = image;
            r.node = uint16_t(node);
            r.segment = uint16_t(segment);
            if (r.cycles) file.write(&r, sizeof r);
        }
        clear();
    }

    // For checkpoints.
    template <class Archive> void archive(Archive &a) {
        a(recent_, before_, taken_, began_, seen_, settled_, instruction_, last_tag_, first_, records_);
    }

    void clear() {
        records_.clear();
        taken_.clear();
        seen_ = settled_ = 0;
        instruction_ = 0;
        first_ = 0;
        before_ = {NOTHING, NO_TAG};
    }

    void archive(Archive &a) {
        a(recent_, before_, taken_, began_, seen_, settled_, instruction_, last_tag_, first_, records_);
    }

  private:
    static constexpr uint64_t LATENCY = shape::PIXEL_LATENCY;

    struct What {
        Cause cause;
        uint16_t other;
    };

    static bool bit(uint32_t status, int number) { return status >> number & 1; }
    static uint32_t lacking(uint32_t status) { return status >> STATUS_LACKING & ((1u << COUNTERS) - 1); }

    static uint16_t working(uint32_t status) {
        bool active = bit(status, STATUS_BUSY) || bit(status, STATUS_WAITING);
        return active ? uint16_t(status >> STATUS_TAG) : NO_TAG;
    }

    // What MATMUL lacked in a cycle, if it sent no pixel.
    static What what(const uint32_t *statuses) {
        const uint32_t matmul = statuses[shape::MATMUL], feed = statuses[shape::FEED];
        if (bit(matmul, STATUS_STALLED)) {
            const uint32_t missing = bit(feed, STATUS_WAITING) ? lacking(feed) : 0;
            if (missing & shape::LINK_COUNTERS) return {WEIGHTS_LINK, NO_TAG};
            return {missing >> shape::LOAD & 1 ? WEIGHTS_DRAM : FEEDING, NO_TAG};
        }
        const uint32_t missing = lacking(matmul);
        if (missing & shape::LINK_COUNTERS) return {LINK, working(statuses[shape::VECTOR])};
        if (missing >> shape::LOAD & 1) return {LOADED, working(statuses[shape::LOAD])};
        if (missing >> shape::VECTOR & 1) return {VECTORS, working(statuses[shape::VECTOR])};
        if (missing) return {OTHERS, NO_TAG};
        return {NOTHING, working(statuses[shape::VECTOR])};
    }

    // Decide on the oldest cycle; `done`: in it the last pixel of an instruction went out, whose tag `status` shows.
    void settle(bool done, uint32_t status) {
        What now = recent_[settled_ % LATENCY];
        const bool taken = !taken_.empty() && taken_.front() <= settled_;
        if (taken && now.cause > WEIGHTS_LINK) {  // what is lacking then is lacking to the instruction behind it
            if (settled_ >= taken_.front() + shape::PREPARE_CYCLES)
                now = {PIXEL, NO_TAG};
            else
                now = before_;  // in preparation: that long the wait before it goes on
        }
        before_ = now.cause == PIXEL ? What{NOTHING, NO_TAG} : now;
        count(now);
        ++settled_;
        if (done && !taken_.empty()) {
            taken_.pop_front();
            close(last_tag_ = uint16_t(status >> STATUS_TAG));
            ++instruction_;
        }
    }

    void count(What now) {
        for (size_t i = first_; i < records_.size(); ++i) {
            if (records_[i].cause == now.cause && records_[i].other == now.other) {
                ++records_[i].cycles;
                return;
            }
        }
        records_.push_back({0, 0, 0, instruction_, 0, now.other, now.cause, 1});
    }

    // The records since the last call are those of an instruction with this tag.
    void close(uint16_t tag) {
        for (; first_ < records_.size(); ++first_) records_[first_].tag = tag;
    }

    What recent_[LATENCY] = {};
    What before_ = {NOTHING, NO_TAG};
    std::deque<uint64_t> taken_;  // when the instructions were taken whose last pixel has not gone out
    uint64_t began_ = 0, seen_ = 0, settled_ = 0;
    uint32_t instruction_ = 0;
    uint16_t last_tag_ = 0;
    size_t first_ = 0;  // record of the instruction in work
    std::vector<LostRecord> records_;
};

}  // namespace superlip
