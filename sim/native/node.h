// One node of the cluster: the Verilated RTL with its DRAM, its end of the links, its host bus and its counters.
//
// Sampling. The RTL is wrapped (sim/build.py) so that every input goes through a register. A cycle t is: put the inputs
// of cycle t on the pins; evaluate the clock edge that begins cycle t, at which the registers take them and the state
// moves on from cycle t - 1; read the outputs, which have settled to what they are in cycle t. Inputs of cycle t
// depend on outputs up to cycle t - 1 alone, so nothing needs to be evaluated twice. In the fast build the wrapper and
// the RTL are clocked by both edges of clk, which saves the evaluation of the falling one; in the build with waves by
// the rising edge only.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "archive.h"
#include "files.h"
#include "host.h"
#include "job.h"
#include "lost.h"
#include "models.h"
#include "node_shape.h"
#include "profile.h"

#if SUPERLIP_WAVES
#include "verilated_vcd_c.h"
#else
#include "verilated_save.h"
#endif

namespace superlip {

// Ports are references, of a type that depends on their width.
using Flit = std::remove_reference_t<decltype(Model::link_tx_payload)>;

template <class T> const uint8_t *bytes_of(const T &port) { return reinterpret_cast<const uint8_t *>(&port); }
template <class T> uint8_t *bytes_of(T &port) { return reinterpret_cast<uint8_t *>(&port); }

#if !SUPERLIP_WAVES
// The RTL's registers and memories as bytes, and back.
class ModelSaver final : public VerilatedSerialize {
  public:
    explicit ModelSaver(Model &model) {
        *this << model;
        flush();
    }
    void flush() override {
        bytes.insert(bytes.end(), m_bufp, m_cp);
        m_cp = m_bufp;
    }

    std::vector<uint8_t> bytes;
};

class ModelLoader final : public VerilatedDeserialize {
  public:
    ModelLoader(Model &model, const std::vector<uint8_t> &bytes) : bytes_(bytes) {
        m_endp = m_bufp;
        *this >> model;
    }

  private:
    // What is left moves to the front; behind the last byte come zeros.
    void fill() override {
        size_t left = size_t(m_endp - m_cp), more = std::min(bytes_.size() - taken_, bufferSize() - left);
        std::memmove(m_bufp, m_cp, left);
        std::memcpy(m_bufp + left, bytes_.data() + taken_, more);
        std::memset(m_bufp + left + more, 0, bufferSize() - left - more);
        taken_ += more;
        m_cp = m_bufp;
        m_endp = m_bufp + bufferSize();
    }

    const std::vector<uint8_t> &bytes_;
    size_t taken_ = 0;
};
#endif

class Node {
  public:
    Node(int index, const Job &job, const std::string &folder, bool resumed)
        : index(index), memory(job.dram_megabytes << 20),
          dram(memory, job.dram, shape::AXI_PORTS, shape::AXI_BYTES, job.boards[index].windows), job_(job), board_(job.boards[index]), throttle_(job.link_rate, shape::LINK_BYTES),
          context_(new VerilatedContext), model_(new Model(context_.get(), "node")) {
#if SUPERLIP_WAVES
        context_->traceEverOn(true);
        model_->trace(&waves_, 99);
        waves_path_ = folder + "/waves-" + std::to_string(index) + ".vcd";
#endif
        if (!job.traces.empty())
            trace_file_.reset(new OutputFile(folder + "/trace-" + std::to_string(index) + ".bin", resumed));
        model_->clk = 0;
        model_->rst = 1;
        for (int i = 0; i < 8; ++i) edge();
        model_->rst = 0;
    }

    ~Node() {
#if SUPERLIP_WAVES
        if (waves_.isOpen()) waves_.close();
#endif
        model_->final();
    }

    // Simulate cycles from .. to - 1.
    void run(uint64_t from, uint64_t to) {
        for (uint64_t t = from; t < to; ++t) {
            drive(t);
            evaluate(t);
            sample(t);
        }
    }

    // Write the start command in the first cycle from which `not_before` allows it, and watch for the end of the program.
    void start(uint64_t program, uint64_t not_before) {
        host.push({true, shape::PROGRAM_LO, uint32_t(program), 0});
        host.push({true, shape::PROGRAM_HI, uint32_t(program >> 32), 0});
        host.push({true, shape::CONTROL, shape::CONTROL_START, not_before});
        watch_ = Watch::STARTING;
        started_at = finished_at = 0;
    }

    bool finished() const { return watch_ == Watch::FINISHED; }

    void close_files() {
        if (trace_file_) trace_file_->finish();
    }

    OutputFile *trace_file() { return trace_file_.get(); }

    // All but the stand-ins, the wires and the files.
    void archive(Archive &a) {
        a(tracing, image, started_at, finished_at, loaded, fetched, stored, flits, watch_, statuses_);
        memory.archive(a);
        dram.archive(a);
        host.archive(a);
        throttle_.archive(a);
        for (auto &unit : profile) unit.archive(a);
        lost.archive(a);
        archive_model(a);
    }

    const int index;
    Memory memory;
    Dram dram;
    HostBus host;
    UnitProfile profile[shape::UNITS];
    LostCycles lost;
    Wire<Flit> *tx = nullptr, *rx = nullptr;  // nullptr: nothing is connected
    bool tracing = false;
    int image = -1;
    uint64_t started_at = 0, finished_at = 0;  // start command taken; first cycle of irq
    uint64_t loaded = 0, fetched = 0, stored = 0, flits = 0;
    std::string failure;  // what ended the simulation

    uint32_t status(int unit) const { return statuses_[unit]; }

  private:
    enum class Watch { IDLE, STARTING, RUNNING, FINISHED };

    void archive_model(Archive &a) {
#if SUPERLIP_WAVES
        (void)a;
        throw std::runtime_error("a build with waves makes no checkpoints");
#else
        std::vector<uint8_t> bytes;
        if (!a.loading) bytes = ModelSaver(*model_).bytes;
        a(bytes);
        if (a.loading) ModelLoader(*model_, bytes);
#endif
    }

    void edge() {
#if SUPERLIP_WAVES
        model_->clk = 1;
        model_->eval();
        model_->clk = 0;
        model_->eval();
#else
        model_->clk = !model_->clk;
        model_->eval();
#endif
    }

#if SUPERLIP_WAVES
    void evaluate(uint64_t t) {
        bool show = t >= job_.waves_first && t <= job_.waves_last;
        if (show && !waves_.isOpen()) waves_.open(waves_path_.c_str());
        model_->clk = 1;
        model_->eval();
        if (show) waves_.dump(vluint64_t(10 * t));
        model_->clk = 0;
        model_->eval();
        if (show) waves_.dump(vluint64_t(10 * t + 5));
        if (t == job_.waves_last && waves_.isOpen()) waves_.close();
    }
#else
    void evaluate(uint64_t) { edge(); }
#endif

    void drive(uint64_t t) {
        Model &m = *model_;
        m.regs_awvalid = host.to.awvalid;
        m.regs_wvalid = host.to.wvalid;
        m.regs_arvalid = host.to.arvalid;
        m.regs_awaddr = m.regs_araddr = host.to.address;
        m.regs_wdata = host.to.data;
        m.regs_wstrb = 15;
        m.regs_awprot = m.regs_arprot = 0;
        m.regs_bready = m.regs_rready = 1;
#define DRIVE(p)                                                          \
    {                                                                     \
        const auto &to = dram.ports[p].to;                                \
        m.dram_read_##p##_arready = to.arready;                           \
        m.dram_read_##p##_rvalid = to.rvalid;                             \
        m.dram_read_##p##_rid = to.rid;                                   \
        m.dram_read_##p##_rresp = to.rresp;                               \
        m.dram_read_##p##_rlast = to.rlast;                               \
        std::memcpy(&m.dram_read_##p##_rdata, to.rdata, shape::AXI_BYTES); \
        m.dram_write_##p##_awready = to.awready;                          \
        m.dram_write_##p##_wready = to.wready;                            \
        m.dram_write_##p##_bvalid = to.bvalid;                            \
        m.dram_write_##p##_bid = to.bid;                                  \
        m.dram_write_##p##_bresp = to.bresp;                              \
    }
        FOR_EACH_AXI_PORT(DRIVE)
#undef DRIVE
        m.link_tx_ready = tx && throttle_.ready();
        const Flit *flit = rx ? rx->pop(t) : nullptr;
        m.link_rx_valid = flit != nullptr;
        if (flit) m.link_rx_payload = *flit;
    }

    void sample(uint64_t t) {
        const Model &m = *model_;
        host.from = {bool(m.regs_awready), bool(m.regs_wready), bool(m.regs_bvalid), bool(m.regs_arready),
                     bool(m.regs_rvalid), m.regs_bresp, m.regs_rresp, m.regs_rdata};
        host.step(t);
#define SAMPLE(p)                                                                                                    \
    {                                                                                                                \
        auto &from = dram.ports[p].from;                                                                             \
        from.ar = {bool(m.dram_read_##p##_arvalid), m.dram_read_##p##_arid, m.dram_read_##p##_araddr,                \
                   m.dram_read_##p##_arlen, m.dram_read_##p##_arsize, m.dram_read_##p##_arburst};                    \
        from.aw = {bool(m.dram_write_##p##_awvalid), m.dram_write_##p##_awid, m.dram_write_##p##_awaddr,             \
                   m.dram_write_##p##_awlen, m.dram_write_##p##_awsize, m.dram_write_##p##_awburst};                 \
        from.rready = m.dram_read_##p##_rready;                                                                      \
        from.bready = m.dram_write_##p##_bready;                                                                     \
        from.wvalid = m.dram_write_##p##_wvalid;                                                                     \
        from.wlast = m.dram_write_##p##_wlast;                                                                       \
        if (from.wvalid) {                                                                                           \
            std::memcpy(from.wdata, &m.dram_write_##p##_wdata, shape::AXI_BYTES);                                    \
            std::memcpy(from.wstrb, &m.dram_write_##p##_wstrb, (shape::AXI_BYTES + 7) / 8);                          \
        }                                                                                                            \
    }
        FOR_EACH_AXI_PORT(SAMPLE)
#undef SAMPLE
        DramBytes moved = dram.step(t);
        bool sent = throttle_.step(tx && m.link_tx_valid);
        if (sent) send(t, m.link_tx_payload);
        watch(t, m.irq);
        observe(t, moved, sent);
    }

    void send(uint64_t t, Flit flit) {
        uint64_t number = flits++;
        if (number >= board_.cut) return;
        auto flip = board_.flips.lower_bound({number, 0});
        for (; flip != board_.flips.end() && flip->first == number; ++flip)
            bytes_of(flit)[flip->second / 8] ^= uint8_t(1 << (flip->second % 8));
        tx->push(t, flit);
    }

    // irq still shows the end of the program before until the start command has taken effect.
    void watch(uint64_t t, bool irq) {
        if (watch_ == Watch::STARTING && host.idle() && !irq) {
            watch_ = Watch::RUNNING;
            started_at = host.written_at;
        } else if (watch_ == Watch::RUNNING && irq) {
            watch_ = Watch::FINISHED;
            finished_at = t;
        }
    }

    void observe(uint64_t t, const DramBytes &moved, bool sent) {
        const Model &m = *model_;
#define STATUS(u) statuses_[u] = uint32_t(m.trace_status_##u);
        FOR_EACH_UNIT(STATUS)
#undef STATUS
        loaded += moved.read[0];
        fetched += moved.read[1];
        stored += moved.written;
        if (job_.profile) {
            for (int u = 0; u < shape::UNITS; ++u)
                profile[u].step(t, statuses_[u], m.trace_taken >> u & 1, m.trace_done >> u & 1);
            lost.step(t, statuses_, m.trace_taken >> shape::MATMUL & 1, m.trace_done >> shape::MATMUL & 1);
            if (moved.read[0]) profile[shape::LOAD].moved(moved.read[0]);
            if (moved.written) profile[shape::STORE].moved(moved.written);
            if (sent) profile[shape::SEND].moved(shape::LINK_BYTES);
        }
        if (tracing && (m.trace_write & 1)) trace(t, m);
    }

    void trace(uint64_t t, const Model &m) {
        // sim/cluster.py has the same layout as a numpy dtype.
        struct {
            uint64_t cycle;
            int32_t image;
            uint32_t address;
            uint16_t tag, node;
        } head{t, image, uint32_t(m.trace_write >> 1) & ((1u << shape::ADDRESS_BITS) - 1),
               uint16_t(m.trace_write >> (1 + shape::ADDRESS_BITS)), uint16_t(index)};
        trace_file_->write(&head, 20);
        trace_file_->write(bytes_of(m.trace_mask), shape::TN / 8);
        trace_file_->write(bytes_of(m.trace_data), shape::TN);
    }

    const Job &job_;
    const Job::Board &board_;
    LinkThrottle throttle_;
    std::unique_ptr<VerilatedContext> context_;
#if SUPERLIP_WAVES
    VerilatedVcdC waves_;
    std::string waves_path_;
#endif
    std::unique_ptr<Model> model_;
    std::unique_ptr<OutputFile> trace_file_;
    Watch watch_ = Watch::IDLE;
    uint32_t statuses_[shape::UNITS] = {};
};

}  // namespace superlip
