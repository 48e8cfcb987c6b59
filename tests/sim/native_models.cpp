// Steps the DRAM and link models with what comes on standard input, one line a cycle (a line a port for DRAM), and prints
// what they drive in the next cycle. tests/sim/test_models.py compares it with the Python models.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "models.h"

using namespace superlip;

static int dram(char **arguments) {
    DramTiming timing{std::atoll(arguments[0]), std::atoll(arguments[1]), std::strtoull(arguments[2], nullptr, 0)};
    int ports = std::atoi(arguments[3]), bytes = std::atoi(arguments[4]);
    Memory memory(std::strtoull(arguments[5], nullptr, 0));
    for (uint64_t i = 0; i < memory.size(); ++i) memory.data()[i] = uint8_t(i * 7 + (i >> 8));
    Dram model(memory, timing, ports, bytes);
    DramBytes total;
    for (uint64_t t = 0;; ++t) {
        for (AxiPort &port : model.ports) {
            int ar, aw, rready, wvalid, wlast, bready;
            unsigned seed, strobe;
            auto &f = port.from;
            if (std::scanf("%d %" SCNu32 " %" SCNu64 " %" SCNu32 " %" SCNu32 " %d %d %" SCNu32 " %" SCNu64 " %" SCNu32
                           " %d %u %x %d %d",
                           &ar, &f.ar.id, &f.ar.address, &f.ar.len, &f.ar.size, &rready, &aw, &f.aw.id, &f.aw.address,
                           &f.aw.len, &wvalid, &seed, &strobe, &wlast, &bready) != 15) {
                uint64_t sum = 0;
                for (uint64_t i = 0; i < memory.size(); ++i) sum = sum * 31 + memory.data()[i];
                std::printf("%" PRIu64 " %u %u %u\n", sum, total.read[0], total.read[1], total.written);
                return 0;
            }
            f.ar.valid = ar;
            f.aw.valid = aw;
            f.ar.burst = f.aw.burst = 1;
            f.aw.size = f.ar.size;
            f.rready = rready;
            f.wvalid = wvalid;
            f.wlast = wlast;
            f.bready = bready;
            for (int i = 0; i < bytes; ++i) f.wdata[i] = uint8_t(seed + unsigned(i));
            for (int i = 0; i < (bytes + 7) / 8; ++i) f.wstrb[i] = uint8_t(strobe >> 8 * i);
        }
        DramBytes moved = model.step(t);
        total.read[0] += moved.read[0];
        total.read[1] += moved.read[1];
        total.written += moved.written;
        for (AxiPort &port : model.ports) {
            auto &to = port.to;
            std::printf("%d%d%d%d%d ", to.arready, to.awready, to.wready, to.rvalid, to.bvalid);
            if (to.rvalid) {
                std::printf("%u %u %d ", to.rid, to.rresp, to.rlast);
                for (int i = 0; i < bytes; ++i) std::printf("%02x", to.rdata[i]);
            }
            if (to.bvalid) std::printf(" %u %u", to.bid, to.bresp);
            std::printf("\n");
        }
    }
}

static int link(char **arguments) {
    LinkThrottle throttle(std::atoll(arguments[0]), std::atoi(arguments[1]));
    Wire<unsigned> wire(std::strtoull(arguments[2], nullptr, 0));
    int valid;
    unsigned flit;
    for (uint64_t t = 0; std::scanf("%d %u", &valid, &flit) == 2; ++t) {
        const unsigned *arrived = wire.pop(t);
        std::printf("%d %lld\n", throttle.ready(), arrived ? static_cast<long long>(*arrived) : -1);
        if (throttle.step(valid)) wire.push(t, flit);
    }
    return 0;
}

int main(int argc, char **argv) {
    try {
        if (argc == 8 && argv[1] == std::string("dram")) return dram(argv + 2);
        if (argc == 5 && argv[1] == std::string("link")) return link(argv + 2);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
    }
    return 1;
}
