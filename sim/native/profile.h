// Counters for each (unit, tag), as cheap as one comparison a unit and cycle while nothing changes.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "archive.h"
#include "files.h"

namespace superlip {

constexpr int COUNTERS = 8;
constexpr int STATUS_BUSY = 0, STATUS_STALLED = 1, STATUS_WAITING = 2, STATUS_LACKING = 3;
constexpr int STATUS_TAG = STATUS_LACKING + COUNTERS;
constexpr int TAGS = 1 << 16;

// One record of profile.bin; sim/cluster.py has the same layout as a numpy dtype.
struct ProfileRecord {
    int32_t image;  // -1: the init programs
    uint16_t node, unit, tag, segment;
    uint32_t taken;
    uint64_t first_taken, last_done;
    uint64_t busy, stalled, waiting;
    uint64_t lacking[COUNTERS];  // cycles in which it waited for that source (among others)
    uint64_t bytes;
};
static_assert(sizeof(ProfileRecord) == 16 + 8 * (5 + COUNTERS + 1));

class UnitProfile {
  public:
    // `status` of cycle t, and whether an instruction was taken or done in it.
    void step(uint64_t t, uint32_t status, bool taken, bool done) {
        if (status != status_) {
            flush();
            status_ = status;
            if (status >> STATUS_BUSY & 1) busy_tag_ = tag();
        }
        ++repeats_;
        if (taken) in_flight_.push_back(t);
        if (done && !in_flight_.empty()) {  // in order: the oldest, whose tag the status shows
            ProfileRecord &r = record(tag());
            if (r.taken++ == 0) r.first_taken = in_flight_.front();
            r.last_done = t;
            in_flight_.pop_front();
        }
    }

    // Bytes moved for the instruction that the unit is working on, or worked on last.
    void moved(uint32_t bytes) { record(busy_tag_).bytes += bytes; }

    uint32_t status() const { return status_; }

    // Append all counters to a file and start again from zero.
    void drain(OutputFile &file, int image, int segment, int node, int unit) {
        flush();
        for (ProfileRecord &r : records_) {
            slots_[r.tag] = 0;
            r.image = image;
            r.segment = uint16_t(segment);
            r.node = uint16_t(node);
            r.unit = uint16_t(unit);
            file.write(&r, sizeof r);
        }
        records_.clear();
        in_flight_.clear();
    }

    // Forget what has been counted.
    void clear() {
        flush();
        for (const ProfileRecord &r : records_) slots_[r.tag] = 0;
        records_.clear();
        in_flight_.clear();
    }

    void archive(Archive &a) {
        if (a.loading) clear();
        a(status_, repeats_, busy_tag_, in_flight_, records_);
        for (size_t i = 0; i < records_.size(); ++i) slots_[records_[i].tag] = uint32_t(i + 1);
    }

  private:
    uint16_t tag() const { return uint16_t(status_ >> STATUS_TAG); }

    ProfileRecord &record(uint16_t tag) {
        if (slots_[tag] == 0) {
            records_.push_back({});
            records_.back().tag = tag;
            slots_[tag] = uint32_t(records_.size());
        }
        return records_[slots_[tag] - 1];
    }

    void flush() {
        uint64_t cycles = repeats_;
        repeats_ = 0;
        bool busy = status_ >> STATUS_BUSY & 1, waiting = status_ >> STATUS_WAITING & 1;
        if (!cycles || !(busy || waiting)) return;
        ProfileRecord &r = record(tag());
        r.busy += busy * cycles;
        r.stalled += (status_ >> STATUS_STALLED & 1) * cycles;
        r.waiting += waiting * cycles;
        for (int s = 0; waiting && s < COUNTERS; ++s) r.lacking[s] += (status_ >> (STATUS_LACKING + s) & 1) * cycles;
    }

    uint32_t status_ = 0;
    uint64_t repeats_ = 0;
    uint16_t busy_tag_ = 0;
    std::deque<uint64_t> in_flight_;  // cycles in which instructions that are not done were taken
    std::vector<uint32_t> slots_ = std::vector<uint32_t>(TAGS);  // index in records_ + 1
    std::vector<ProfileRecord> records_;
};

}  // namespace superlip
