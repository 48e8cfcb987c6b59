// Native cluster simulator: runs the programs of all nodes for a list of images and writes what came out.
//
//     simulator JOB BYTES FOLDER
//
// JOB is described in job.h, BYTES holds what is written to DRAM, FOLDER takes outputs.bin (the output ranges, image after
// image), profile.bin (profile.h), lost.bin (lost.h), trace-N.bin (node.h) and waves-N.vcd. Standard output carries one
// line a fact:
//
//     progress DONE CYCLE           images done, cycles simulated: about five times a second
//     host I S                      host.bin holds what the host reads before segment S of image I: it computes now
//     image I S START CYCLES        a segment is over. I = -1: the init programs; START: cycle in which the first node took
//                                   its start command; CYCLES: from there to the first in which all nodes raise irq
//     node I S N FINISHED           cycles from START until this node raised irq
//     error I S N CYCLE CODE SYNDROME  registers ERROR and SYNDROME of a node that failed, and when, from START
//     late I S N                    a node that had not finished when the simulation was given up
//     state N U STATUS              trace_status of a unit at that moment
//     bytes N LOADED FETCHED STORED SENT
//     end CYCLE SECONDS             everything was written; SECONDS of simulation alone
//
// Exit code 0: the line `end` was written, whether or not nodes failed. 1: message on standard error. 130: asked to stop.
// To `host` the host answers on standard input, meanwhile no cycle passes:
//
//     write NODE OFFSET LENGTH BLOB bytes at BLOB of the file host-answer.bin, to be written to DRAM
//     go                            last line of an answer
//
// All nodes run in quanta of the link latency: a flit that leaves in one quantum arrives in the next at the earliest, so
// threads need to meet only between quanta, and the result is the same for any number of threads. What the host does
// (writing registers, noticing that all nodes are done) happens between quanta, too; the start commands carry the cycle
// from which they are to be issued, so that it is the same on all nodes.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <unistd.h>

#include "team.h"

namespace superlip {

volatile std::sig_atomic_t stop_signal = 0;

struct Interrupted {};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The bytes that the job refers to, and where they go.
class Blob {
  public:
    explicit Blob(const std::string &path) : path_(path), file_(open(path.c_str(), O_RDONLY)) {
        if (file_ < 0) throw std::runtime_error("can't read " + path + ": " + std::strerror(errno));
    }
    ~Blob() { close(file_); }

    void copy(const Job::Copy &c, Memory &memory) const {
        for (uint64_t done = 0; done < c.length;) {
            ssize_t count = pread(file_, memory.data() + c.offset + done, c.length - done, off_t(c.blob + done));
            if (count <= 0) throw std::runtime_error(path_ + ": ends before its bytes do");
            done += uint64_t(count);
        }
    }

  private:
    std::string path_;
    int file_;
};

class Simulation {
  public:
    Simulation(const Job &job, const Blob &blob, const std::string &folder)
        : job_(job), blob_(blob), folder_(folder), outputs_(folder + "/outputs.bin"), profile_(folder + "/profile.bin"),
          lost_(folder + "/lost.bin") {
        const size_t count = job.boards.size();
        for (size_t n = 0; n < count; ++n) nodes_.emplace_back(new Node(int(n), job, folder));
        for (size_t n = 0; n < count && count > 1; ++n) {  // a ring: of two, each sends to the other
            wires_.emplace_back(new Wire<Flit>(job.link_latency));
            nodes_[n]->tx = nodes_[(n + 1) % count]->rx = wires_.back().get();
        }
        for (const auto &c : job.outputs) check(c);
        for (const auto &[segment, reads] : job.reads)
            for (const auto &c : reads) check(c);
        team_.reset(new Team(nodes_, std::min(job.threads, int(count))));
    }

    void run() {
        for (const auto &c : job_.memory) load(c, blob_);
        for (size_t n = 0; n < nodes_.size(); ++n)
            for (const auto &s : job_.boards[n].registers) nodes_[n]->host.push({true, s.offset, s.value, 0});
        settle();
        bool good = run_programs(-1, 0);
        for (int image = 0; good && image < job_.images; ++image) {
            auto inputs = job_.inputs.find(image);
            if (inputs != job_.inputs.end())
                for (const auto &c : inputs->second) load(c, blob_);
            for (int segment = 0; good && segment < job_.segments; ++segment) {
                if (segment > 0) ask_host(image, segment);
                good = run_programs(image, segment);
            }
            for (const auto &c : job_.outputs)
                if (good) outputs_.write(nodes_[c.node]->memory.data() + c.offset, c.length);
            images_done_ += good;
        }
        for (auto &node : nodes_) node->close_files();
        outputs_.finish();
        profile_.finish();
        lost_.finish();
        for (size_t n = 0; n < nodes_.size(); ++n)
            std::printf("bytes %zu %llu %llu %llu %llu\n", n, number(nodes_[n]->loaded), number(nodes_[n]->fetched),
                        number(nodes_[n]->stored), number(nodes_[n]->flits * shape::LINK_BYTES));
        std::printf("end %llu %.6f\n", number(cycle_), now() - began_);
    }

  private:
    static unsigned long long number(uint64_t value) { return value; }

    void check(const Job::Copy &c) const {
        if (c.node < 0 || size_t(c.node) >= nodes_.size())
            throw std::runtime_error("there is no node " + std::to_string(c.node));
        if (!nodes_[c.node]->memory.holds(c.offset, c.length))
            throw std::runtime_error("bytes " + std::to_string(c.offset) + " to " + std::to_string(c.offset + c.length) +
                                     " are outside the " + std::to_string(job_.dram_megabytes) + " MB of DRAM");
    }

    void load(const Job::Copy &c, const Blob &blob) {
        check(c);
        blob.copy(c, nodes_[c.node]->memory);
    }

    // Let the host compute what comes before a segment.
    void ask_host(int image, int segment) {
        const double asked = now();
        OutputFile question(folder_ + "/host.bin");
        auto reads = job_.reads.find(segment);
        if (reads != job_.reads.end())
            for (const auto &c : reads->second) question.write(nodes_[c.node]->memory.data() + c.offset, c.length);
        question.finish();
        std::printf("host %d %d\n", image, segment);
        std::fflush(stdout);
        std::vector<Job::Copy> writes;
        for (std::string line; line != "go";) {
            if (!std::getline(std::cin, line)) throw std::runtime_error("the host gave no answer");
            std::istringstream words(line);
            std::string key;
            Job::Copy c{};
            if (words >> key >> c.node >> c.offset >> c.length >> c.blob && key == "write")
                writes.push_back(c);
            else if (line != "go")
                throw std::runtime_error("host: can't understand: " + line);
        }
        if (!writes.empty()) {
            Blob answer(folder_ + "/host-answer.bin");
            for (const auto &c : writes) load(c, answer);
        }
        began_ += now() - asked;
    }

    void quantum() {
        team_->run(cycle_, cycle_ + job_.link_latency);
        cycle_ += job_.link_latency;
        for (size_t n = 0; n < nodes_.size(); ++n)
            if (!nodes_[n]->failure.empty())
                throw std::runtime_error("node " + std::to_string(n) + ", about cycle " + std::to_string(cycle_) + ": " +
                                         nodes_[n]->failure);
        if (stop_signal) throw Interrupted();
        if (++quanta_ % 64 == 0 && now() > next_report_) {
            std::printf("progress %d %llu\n", images_done_, number(cycle_));
            std::fflush(stdout);
            next_report_ = now() + 0.2;
        }
    }

    // Until the host has nothing left to do on any node.
    void settle() {
        auto busy = [](const auto &node) { return !node->host.idle(); };
        while (std::any_of(nodes_.begin(), nodes_.end(), busy)) quantum();
    }

    // Run the init programs (image -1) or the programs of one segment of an image. False if it did not end well.
    bool run_programs(int image, int segment) {
        std::vector<Node *> running;
        // Far enough for PROGRAM to be written before.
        const uint64_t start = cycle_ + job_.link_latency * (1 + 64 / job_.link_latency);
        for (size_t n = 0; n < nodes_.size(); ++n) {
            const Job::Board &board = job_.boards[n];
            Node &node = *nodes_[n];
            node.image = image;
            node.tracing = job_.traces.count(image) != 0;
            auto program = board.programs.find(segment);
            if (!(image < 0 ? board.has_init : program != board.programs.end())) continue;
            node.start(image < 0 ? board.init : program->second, start + board.delay);
            running.push_back(&node);
        }
        if (running.empty()) return true;
        for (auto &node : nodes_) {
            for (auto &unit : node->profile) unit.clear();
            node->lost.clear();
        }
        wait(running, start);
        settle();
        return report(image, segment, running);
    }

    // Until all are finished, or long enough.
    void wait(const std::vector<Node *> &running, uint64_t start) {
        uint64_t give_up = job_.max_cycles < UINT64_MAX - start ? start + job_.max_cycles : UINT64_MAX;
        for (size_t finished = 0; cycle_ < give_up;) {
            quantum();
            size_t before = finished;
            finished = size_t(std::count_if(running.begin(), running.end(), [](Node *n) { return n->finished(); }));
            if (finished == running.size()) break;
            if (finished == before) continue;
            for (Node *node : running)  // others may wait for ever for one that has failed
                if (node->finished() && failed(*node)) give_up = std::min(give_up, node->finished_at + job_.stop_after);
        }
    }

    bool failed(Node &node) { return ask(node, shape::STATUS) & shape::STATUS_ERROR; }

    uint32_t ask(Node &node, uint32_t offset) {
        node.host.push({false, offset, 0, 0});
        while (!node.host.idle()) quantum();
        return node.host.read.back();
    }

    // Say how the programs of a segment ended, and write its counters. False if a node failed or is late.
    bool report(int image, int segment, const std::vector<Node *> &running) {
        uint64_t start = UINT64_MAX, finish = 0;
        std::vector<uint32_t> statuses;
        for (const auto &node : nodes_)
            for (int u = 0; u < shape::UNITS; ++u) statuses.push_back(node->status(u));
        for (const Node *node : running) {
            if (node->started_at) start = std::min(start, node->started_at);
            finish = std::max(finish, node->finished() ? node->finished_at : cycle_);
        }
        bool good = true;
        for (Node *node : running) good &= report(image, segment, *node, start);
        for (size_t i = 0; !good && i < statuses.size(); ++i)
            std::printf("state %zu %zu %u\n", i / shape::UNITS, i % shape::UNITS, statuses[i]);
        std::printf("image %d %d %llu %llu\n", image, segment, number(start), number(finish - start));
        if (job_.profile)
            for (size_t n = 0; n < nodes_.size(); ++n) {
                for (int u = 0; u < shape::UNITS; ++u) nodes_[n]->profile[u].drain(profile_, image, segment, int(n), u);
                nodes_[n]->lost.drain(lost_, image, segment, int(n), start, finish);
            }
        return good;
    }

    bool report(int image, int segment, Node &node, uint64_t start) {
        if (!node.finished()) {
            std::printf("late %d %d %d\n", image, segment, node.index);
            return false;
        }
        unsigned long long finished = number(node.finished_at - start);
        if (failed(node)) {
            uint32_t error = ask(node, shape::ERROR), syndrome = ask(node, shape::SYNDROME);
            std::printf("error %d %d %d %llu %u %u\n", image, segment, node.index, finished, error, syndrome);
            return false;
        }
        std::printf("node %d %d %d %llu\n", image, segment, node.index, finished);
        return true;
    }

    const Job &job_;
    const Blob &blob_;
    const std::string folder_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<std::unique_ptr<Wire<Flit>>> wires_;
    OutputFile outputs_, profile_, lost_;
    std::unique_ptr<Team> team_;
    uint64_t cycle_ = 0, quanta_ = 0;
    int images_done_ = 0;
    double began_ = now(), next_report_ = 0;
};

}  // namespace superlip

int main(int argc, char **argv) {
    using namespace superlip;
    if (argc != 4) {
        std::fprintf(stderr, "usage: %s JOB BYTES FOLDER\n", argv[0]);
        return 1;
    }
    std::signal(SIGTERM, [](int) { stop_signal = 1; });
    std::signal(SIGINT, [](int) { stop_signal = 1; });
    std::setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
    try {
        Job job(argv[1]);
        Blob blob(argv[2]);
        Simulation(job, blob, argv[3]).run();
        if (std::fflush(stdout)) throw std::runtime_error("can't write to standard output");
    } catch (const Interrupted &) {
        return 130;
    } catch (const std::exception &error) {
        std::fflush(stdout);
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
