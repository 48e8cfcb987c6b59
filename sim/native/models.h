// DRAM and link models of the cluster simulator: integer arithmetic only, one step() a cycle.
// sim/models.py is the same in Python, for cocotb testbenches; tests/test_native_models.py steps both side by side.
//
// Time. Cycle t is what lies between two rising clock edges. What the models drive in cycle t was decided at the
// end of cycle t - 1; step(t) is given what the node drove in cycle t (settled, with the models' own cycle-t values
// on the node's inputs), and decides what the models drive in cycle t + 1. A transfer takes place in every cycle in
// which valid and ready are both high. Before cycle 0 the node has been in reset and the models have not stepped.
//
// Bandwidth. Bytes are counted in units of 1/65536 byte (FRACTION). A bucket starts full, holds one cycle's worth,
// is refilled once a cycle, and may go into debt: whatever needs it goes ahead while the balance is above zero.
//
// Dram, step(t), in this order:
//  1. Transfers of cycle t. AR and AW enter their port's queue (ready while it holds fewer than QUEUE bursts); W
//     enters the port's write buffer (ready while it holds fewer than WRITE_BUFFER beats, before or after its AW);
//     R and B that were taken make room.
//  2. balance = min(balance + rate, rate).
//  3. Grants, while balance > 0. The requesters are, in this order, read 0, write 0, read 1, write 1, ...; each is
//     asked once, beginning with the one behind the last that was granted (read 0 at first). A read port wants to go
//     if its R register is empty and t + 1 >= cycle of its oldest burst's AR + latency: its next beat is read from memory
//     and is on R from cycle t + 1. A write port wants to go if it has a burst and a beat in its write buffer: the
//     beat is written to memory. Either subtracts axi_bytes from the balance, and the first beat of a burst also
//     burst_overhead * bytes_per_cycle / axi_ports: bursts that all ports begin together cost it once.
//  4. A write burst whose last beat was granted in cycle g is answered on B from cycle max(g + latency, g + 1), in order.
// A port's bursts are served in order, whatever their ID. An address outside the memory answers DECERR: for that beat of
// a read (data 0), for the whole burst of a write (beats inside are written). What the AXI standard forbids a manager,
// and bursts other than full-width aligned INCR, end the simulation with a message.
//
// Link, step(t): a flit taken in cycle t (valid & ready) costs its bytes; then the refill; then ready in cycle t + 1 is
// balance > 0. The flit is on the other side's rx in cycle t + latency, for that one cycle.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "archive.h"

namespace superlip {

constexpr int FRACTION_BITS = 16;
constexpr size_t QUEUE = 16;
constexpr size_t WRITE_BUFFER = 16;
constexpr int MAX_AXI_BYTES = 128;
constexpr int OKAY = 0, DECERR = 3;

// The node did what no correct node does: a bug in the RTL, not in the program that it runs.
class ProtocolError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Zeroed bytes that take real memory only once they are written.
class Memory {
  public:
    explicit Memory(uint64_t bytes) : bytes_(bytes) {
        void *place = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (place == MAP_FAILED)
            throw std::runtime_error("no memory for " + std::to_string(bytes >> 20) +
                                     " MB of simulated DRAM: " + std::strerror(errno));
        data_ = static_cast<uint8_t *>(place);
    }
    ~Memory() { munmap(data_, bytes_); }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    uint8_t *data() { return data_; }
    uint64_t size() const { return bytes_; }
    bool holds(uint64_t address, uint64_t length) const { return address <= bytes_ && length <= bytes_ - address; }

    // Runs of pages that are not all zero: offset, length, bytes. Restored to a memory that is zero.
    void archive(Archive &a) {
        for (uint64_t offset = 0, length = 0;; offset += length) {
            if (!a.loading) {
                while (offset < bytes_ && blank(offset)) offset += PAGE;
                for (length = 0; offset + length < bytes_ && !blank(offset + length);) length += PAGE;
            }
            a(offset, length);
            if (length == 0) return;
            if (!holds(offset, length)) throw UnusableCheckpoint("it is of another memory");
            a.bytes(data_ + offset, length);
        }
    }

  private:
    static constexpr uint64_t PAGE = 4096;  // a DRAM has whole megabytes

    bool blank(uint64_t offset) const {
        uint64_t bits = 0, word;
        for (uint64_t i = 0; i < PAGE; i += sizeof word) {
            std::memcpy(&word, data_ + offset + i, sizeof word);
            bits |= word;
        }
        return bits == 0;
    }

    uint8_t *data_;
    uint64_t bytes_;
};

struct DramTiming {
    int64_t rate;            // bytes a cycle << FRACTION_BITS
    int64_t burst_overhead;  // bytes that a burst costs on top, << FRACTION_BITS
    uint64_t latency;
};

// Signals of one AXI4 port: `from` the node, and `to` it.
struct AxiPort {
    struct Address {
        bool valid;
        uint32_t id;
        uint64_t address;
        uint32_t len, size, burst;
    };
    struct {
        Address ar, aw;
        bool rready, wvalid, wlast, bready;
        uint8_t wdata[MAX_AXI_BYTES];
        uint8_t wstrb[MAX_AXI_BYTES / 8];
    } from{};
    struct {
        bool arready = true, awready = true, wready = true;
        bool rvalid = false, rlast = false, bvalid = false;
        uint32_t rid = 0, rresp = 0, bid = 0, bresp = 0;
        uint8_t rdata[MAX_AXI_BYTES] = {};
    } to;
};

// Bytes moved in one step, reads by the low bit of their ID.
struct DramBytes {
    uint32_t read[2] = {0, 0};
    uint32_t written = 0;
};

// Bytes of the bus that are bytes of the memory: whole pages.
struct Window {
    uint64_t bus, length, offset;
};

class Dram {
  public:
    // Without windows, an address on the bus is one of the memory.
    Dram(Memory &memory, DramTiming timing, int ports, int axi_bytes, std::vector<Window> windows = {})
        : ports(ports), memory_(memory), timing_(timing), bytes_(axi_bytes), balance_(timing.rate), states_(ports),
          windows_(std::move(windows)) {
        if (timing.rate <= 0 || axi_bytes > MAX_AXI_BYTES) throw std::runtime_error("impossible DRAM parameters");
    }

    std::vector<AxiPort> ports;

    DramBytes step(uint64_t t) {
        for (size_t p = 0; p < ports.size(); ++p) transfers(p, t);
        balance_ = std::min(balance_ + timing_.rate, timing_.rate);
        DramBytes moved;
        if (pending_) grants(t, moved);
        for (size_t p = 0; p < ports.size(); ++p) respond(p, t);
        return moved;
    }

    void archive(Archive &a) {
        a(ports, balance_, turn_, pending_);
        for (State &s : states_) a(s.reads, s.writes, s.responses, s.buffer, s.ar, s.aw, s.w_held);
    }

  private:
    struct Burst {
        uint32_t id;
        uint64_t address;
        uint32_t beats;  // left
        bool first;
        uint64_t from;  // first cycle of its response
        uint32_t resp;
    };
    struct Beat {
        uint8_t data[MAX_AXI_BYTES];
        uint8_t strobe[MAX_AXI_BYTES / 8];
        bool last;
    };
    struct State {
        std::deque<Burst> reads, writes, responses;
        std::deque<Beat> buffer;
        AxiPort::Address ar{}, aw{};  // not taken in the last cycle: must be there in this one
        bool w_held = false;
    };

    [[noreturn]] static void violation(size_t p, const char *channel, const std::string &what) {
        throw ProtocolError("AXI port " + std::to_string(p) + ", channel " + channel + ": " + what);
    }

    void transfers(size_t p, uint64_t t) {
        auto &[from, to] = ports[p];
        State &s = states_[p];
        if (to.rvalid && from.rready) to.rvalid = false;
        if (to.bvalid && from.bready) to.bvalid = false;
        if ((from.ar.valid || s.ar.valid) && address(p, "AR", from.ar, s.ar, to.arready)) {
            s.reads.push_back(burst(from.ar, t + timing_.latency));
            ++pending_;
        }
        if ((from.aw.valid || s.aw.valid) && address(p, "AW", from.aw, s.aw, to.awready)) {
            s.writes.push_back(burst(from.aw, 0));
            ++pending_;
        }
        if (s.w_held && !from.wvalid) violation(p, "W", "valid fell before ready");
        s.w_held = from.wvalid && !to.wready;
        if (from.wvalid && to.wready) {
            Beat beat;
            std::memcpy(beat.data, from.wdata, bytes_);
            std::memcpy(beat.strobe, from.wstrb, (bytes_ + 7) / 8);
            beat.last = from.wlast;
            s.buffer.push_back(beat);
        }
    }

    // Whether the address is taken in this cycle.
    bool address(size_t p, const char *channel, const AxiPort::Address &now, AxiPort::Address &held, bool ready) {
        if (held.valid && !(now.valid && now.id == held.id && now.address == held.address && now.len == held.len))
            violation(p, channel, "valid fell, or the address changed, before ready");
        held.valid = false;
        if (!now.valid) return false;
        if (!ready) {
            held = now;
            return false;
        }
        uint64_t length = uint64_t(bytes_) * (now.len + 1);
        if (now.burst != 1) violation(p, channel, "burst type " + std::to_string(now.burst) + " is not INCR");
        if ((1 << now.size) != bytes_)
            violation(p, channel, "size " + std::to_string(now.size) + " is not the full width");
        if (now.address % bytes_) violation(p, channel, "address " + hex(now.address) + " is not aligned");
        if ((now.address ^ (now.address + length - 1)) >> 12)
            violation(p, channel, "burst of " + std::to_string(length) + " bytes at " + hex(now.address) + " crosses 4 KiB");
        return true;
    }

    static std::string hex(uint64_t value) {
        char text[24];
        std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
        return text;
    }

    static Burst burst(const AxiPort::Address &a, uint64_t from) {
        return {a.id, a.address, a.len + 1, true, from, OKAY};
    }

    void grants(uint64_t t, DramBytes &moved) {
        const size_t requesters = 2 * ports.size();
        size_t next = turn_;
        for (size_t k = 0; k < requesters && balance_ > 0; ++k) {
            size_t r = turn_ + k < requesters ? turn_ + k : turn_ + k - requesters;
            bool granted = r % 2 ? write(r / 2, t, moved) : read(r / 2, t, moved);
            if (granted) next = r + 1 == requesters ? 0 : r + 1;
        }
        turn_ = next;
    }

    // A beat's bytes, or nullptr where there are none.
    uint8_t *at(uint64_t address) {
        uint64_t offset = address;
        if (!windows_.empty()) {
            auto w = std::find_if(windows_.begin(), windows_.end(),
                                  [&](const Window &w) { return address - w.bus < w.length; });
            if (w == windows_.end()) return nullptr;
            offset = address - w->bus + w->offset;
        }
        return memory_.holds(offset, bytes_) ? memory_.data() + offset : nullptr;
    }

    void charge(Burst &burst) {
        balance_ -= (int64_t(bytes_) << FRACTION_BITS) + (burst.first ? timing_.burst_overhead : 0);
        burst.first = false;
    }

    bool read(size_t p, uint64_t t, DramBytes &moved) {
        auto &to = ports[p].to;
        auto &reads = states_[p].reads;
        if (reads.empty() || to.rvalid || t + 1 < reads.front().from) return false;
        Burst &burst = reads.front();
        charge(burst);
        const uint8_t *bytes = at(burst.address);
        bool inside = bytes != nullptr;
        if (inside)
            std::memcpy(to.rdata, bytes, bytes_);
        else
            std::memset(to.rdata, 0, bytes_);
        to.rvalid = true;
        to.rid = burst.id;
        to.rresp = inside ? OKAY : DECERR;
        to.rlast = burst.beats == 1;
        moved.read[burst.id & 1] += bytes_;
        burst.address += bytes_;
        if (--burst.beats == 0) {
            reads.pop_front();
            --pending_;
        }
        return true;
    }

    bool write(size_t p, uint64_t t, DramBytes &moved) {
        State &s = states_[p];
        if (s.writes.empty() || s.buffer.empty()) return false;
        Burst &burst = s.writes.front();
        const Beat &beat = s.buffer.front();
        charge(burst);
        if (beat.last != (burst.beats == 1)) violation(p, "W", "last is not on the last beat of the burst");
        if (uint8_t *bytes = at(burst.address)) {
            for (int i = 0; i < bytes_; ++i)
                if (beat.strobe[i / 8] >> (i % 8) & 1) bytes[i] = beat.data[i];
        } else {
            burst.resp = DECERR;
        }
        moved.written += bytes_;
        burst.address += bytes_;
        s.buffer.pop_front();
        if (--burst.beats == 0) {
            burst.from = t + std::max<uint64_t>(timing_.latency, 1);
            s.responses.push_back(burst);
            s.writes.pop_front();
            --pending_;
        }
        return true;
    }

    void respond(size_t p, uint64_t t) {
        auto &to = ports[p].to;
        State &s = states_[p];
        if (!to.bvalid && !s.responses.empty() && t + 1 >= s.responses.front().from) {
            to.bvalid = true;
            to.bid = s.responses.front().id;
            to.bresp = s.responses.front().resp;
            s.responses.pop_front();
        }
        to.arready = s.reads.size() < QUEUE;
        to.awready = s.writes.size() < QUEUE;
        to.wready = s.buffer.size() < WRITE_BUFFER;
    }

    Memory &memory_;
    DramTiming timing_;
    int bytes_;
    int64_t balance_;
    size_t turn_ = 0;
    size_t pending_ = 0;  // bursts in all queues
    std::vector<State> states_;
    std::vector<Window> windows_;
};

// The bandwidth of one direction of a link.
class LinkThrottle {
  public:
    LinkThrottle(int64_t rate, int flit_bytes)
        : rate_(rate), cost_(int64_t(flit_bytes) << FRACTION_BITS), balance_(rate) {
        if (rate <= 0) throw std::runtime_error("impossible link parameters");
    }

    bool ready() const { return ready_; }

    // Whether a flit is taken in this cycle.
    bool step(bool valid) {
        bool taken = valid && ready_;
        if (taken) balance_ -= cost_;
        balance_ = std::min(balance_ + rate_, rate_);
        ready_ = balance_ > 0;
        return taken;
    }

    void archive(Archive &a) { a(balance_, ready_); }

  private:
    int64_t rate_, cost_, balance_;
    bool ready_ = true;
};

// Flits on their way, from one thread to another. Both ends may run at once as long as the reader's cycle never reaches
// the writer's oldest cycle + latency, which quanta of `latency` cycles see to: so it never matters who is ahead.
template <class Flit> class Wire {
  public:
    explicit Wire(uint64_t latency) : latency_(latency) {
        size_t size = 16;
        while (size < 4 * latency) size *= 2;
        places_.resize(size);
    }

    void push(uint64_t t, const Flit &flit) {
        size_t tail = tail_.load(std::memory_order_relaxed);
        places_[tail & (places_.size() - 1)] = {t + latency_, flit};
        tail_.store(tail + 1, std::memory_order_release);
    }

    // The flit that arrives in cycle t, or nullptr; it stays valid until the next call.
    const Flit *pop(uint64_t t) {
        if (head_ == tail_.load(std::memory_order_acquire)) return nullptr;
        const auto &place = places_[head_ & (places_.size() - 1)];
        if (place.arrival != t) return nullptr;
        ++head_;
        return &place.flit;
    }

    // While neither end is at work.
    void archive(Archive &a) {
        size_t tail = tail_.load();
        a(places_, head_, tail);
        tail_.store(tail);
    }

  private:
    struct Place {
        uint64_t arrival;
        Flit flit;
    };
    uint64_t latency_;
    std::vector<Place> places_;
    alignas(64) std::atomic<size_t> tail_{0};
    alignas(64) size_t head_ = 0;
};

}  // namespace superlip
