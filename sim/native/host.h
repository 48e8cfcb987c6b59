// The host's side of a node: AXI4-Lite transactions, one at a time, on real bus signals.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "models.h"

namespace superlip {

struct RegisterAccess {
    bool write;
    uint32_t address, data;
    uint64_t not_before;  // first cycle in which valid may be up
};

class HostBus {
  public:
    // Signals to the node; bready and rready are always 1.
    struct {
        bool awvalid = false, wvalid = false, arvalid = false;
        uint32_t address = 0, data = 0;
    } to;
    // Signals from the node.
    struct {
        bool awready, wready, bvalid, arready, rvalid;
        uint32_t bresp, rresp, rdata;
    } from{};

    std::vector<uint32_t> read;  // results, in order
    uint64_t written_at = 0;     // cycle in which the last write's address and data had both been taken

    void push(const RegisterAccess &access) { queue_.push_back(access); }
    bool idle() const { return queue_.empty(); }

    void step(uint64_t t) {
        if (queue_.empty()) return;
        const RegisterAccess &access = queue_.front();
        if (!started_) {
            if (t + 1 < access.not_before) return;
            started_ = true;
            to.address = access.address;
            to.data = access.data;
            to.awvalid = to.wvalid = access.write;
            to.arvalid = !access.write;
            return;
        }
        bool asking = to.awvalid || to.wvalid;
        if (from.awready) to.awvalid = false;
        if (from.wready) to.wvalid = false;
        if (from.arready) to.arvalid = false;
        if (asking && !to.awvalid && !to.wvalid) written_at = t;
        bool answered = access.write ? from.bvalid : from.rvalid;
        if (!answered) return;
        uint32_t resp = access.write ? from.bresp : from.rresp;
        if (resp != 0)
            throw ProtocolError("register 0x" + std::to_string(access.address) + ": response " + std::to_string(resp));
        if (!access.write) read.push_back(from.rdata);
        queue_.pop_front();
        started_ = false;
    }

    void archive(Archive &a) { a(to, from, read, written_at, queue_, started_); }

  private:
    std::deque<RegisterAccess> queue_;
    bool started_ = false;
};

}  // namespace superlip
