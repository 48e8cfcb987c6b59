// Native cluster simulator: runs the programs of all nodes for a list of images and writes what came out.
//
//     simulator JOB BYTES FOLDER [SECONDS [CYCLE]]
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
// With SECONDS, FOLDER outlives an interrupt. Every SECONDS (less often, where writing takes long), upon SIGINT or SIGTERM,
// and at CYCLE, which is as if interrupted there, the whole state goes to FOLDER/checkpoint.bin. If there is one, the run
// goes on from it: its result is that of a run that was never interrupted. In this case the lines above come again, and
// these are said, too:
//
//     resumed CYCLE                 where it goes on
//     warning TEXT                  a checkpoint could not be written
//
// Exit code 0: the line `end` was written, whether or not nodes failed. 1: message on standard error. 3: the checkpoint is
// of no use. 130: asked to stop.
// To `host` the host answers on standard input, meanwhile no cycle passes:
//
//     write NODE OFFSET LENGTH BLOB bytes at BLOB of the file host-answer.bin, to be written to DRAM
//     go                            last line of an answer
//
// A resumed run asks again for the segments of its image that are behind it; those answers are read and dropped.
//
// All nodes run in quanta of the link latency: a flit that leaves in one quantum arrives in the next at the earliest, so
// threads need to meet only between quanta, and the result is the same for any number of threads. What the host does
// (writing registers, noticing that all nodes are done) happens between quanta, too; the start commands carry the cycle
// from which they are to be issued, so that it is the same on all nodes.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <unistd.h>

#include "team.h"

namespace superlip {

volatile std::sig_atomic_t stop_signal = 0;

struct Interrupted {};

#if defined(SUPERLIP_TM)
void archive_stand_ins(Archive &a);
#else
void archive_stand_ins(Archive &) {}
#endif

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

// When to write checkpoints.
struct Schedule {
    bool wanted = false, resume = false;
    double seconds = 0;
    uint64_t stop_at = UINT64_MAX;
};

class Simulation {
  public:
    Simulation(const Job &job, const Blob &blob, const std::string &folder, const Schedule &schedule)
        : job_(job), blob_(blob), folder_(folder), schedule_(schedule), outputs_(folder + "/outputs.bin", schedule.resume),
          profile_(folder + "/profile.bin", schedule.resume), lost_(folder + "/lost.bin", schedule.resume) {
        const size_t count = job.boards.size();
        for (size_t n = 0; n < count; ++n) nodes_.emplace_back(new Node(int(n), job, folder, schedule.resume));
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
        if (schedule_.resume)
            resume();
        else
            prepare();
        bool good = true;
        for (; good && at_.image < job_.images; ++at_.image) {  // the init programs are image -1
            for (; good && at_.segment < (at_.image < 0 ? 1 : job_.segments); ++at_.segment) good = run_segment();
            for (const auto &c : job_.outputs)
                if (good && at_.image >= 0) outputs_.write(nodes_[c.node]->memory.data() + c.offset, c.length);
            at_.segment = 0;
            questions_.clear();
        }
        for (auto &node : nodes_) node->close_files();
        outputs_.finish();
        profile_.finish();
        lost_.finish();
        for (size_t n = 0; n < nodes_.size(); ++n)
            say("bytes %zu %llu %llu %llu %llu\n", n, number(nodes_[n]->loaded), number(nodes_[n]->fetched),
                number(nodes_[n]->stored), number(nodes_[n]->flits * shape::LINK_BYTES));
        say("end %llu %.6f\n", number(cycle_), now() - began_);
    }

  private:
    // Where the run is. Image -1: the init programs.
    struct Position {
        int image = -1, segment = 0;
        bool begun = false;  // the programs have been started, in cycle `start`
        uint64_t start = 0, give_up = 0;
    };

    static unsigned long long number(uint64_t value) { return value; }

    std::string checkpoint() const { return folder_ + "/checkpoint.bin"; }

    // A fact for standard output, which a resumed run repeats.
    [[gnu::format(printf, 2, 3)]] void say(const char *format, ...) {
        char line[256];
        va_list values;
        va_start(values, format);
        std::vsnprintf(line, sizeof line, format, values);
        va_end(values);
        std::fputs(line, stdout);
        if (schedule_.wanted) said_ += line;
    }

    void archive(Archive &a) {
        double seconds = now() - began_;
        a(at_, cycle_, quanta_, seconds, said_, questions_);
        if (a.loading) began_ = now() - seconds;
        for (auto &node : nodes_) node->archive(a);
        for (auto &wire : wires_) wire->archive(a);
        archive_stand_ins(a);
        for (OutputFile *file : files()) {
            uint64_t length = file->length();
            a(length);
            if (a.loading) file->go_on_at(length);
        }
    }

    std::vector<OutputFile *> files() {
        std::vector<OutputFile *> found{&outputs_, &profile_, &lost_};
        for (auto &node : nodes_)
            if (node->trace_file()) found.push_back(node->trace_file());
        return found;
    }

    // In a place from which a resumed run can go on: stop, if it has been asked for, and write a checkpoint, if it is time.
    void pause() {
        if (cycle_ >= schedule_.stop_at) stop_signal = 1;
        if (!stop_signal && !checkpoint_due_) return;
        if (schedule_.wanted) save();
        if (stop_signal) throw Interrupted();
    }

    void save() {
        const double began = now();
        try {
            Saver saver(checkpoint(), cycle_);
            archive(saver);
            for (OutputFile *file : files()) file->sync();
            saver.finish();
            for (OutputFile *file : files()) file->keep();
        } catch (const std::exception &error) {  // one more reason to go on: what has been done is not to be lost
            std::printf("warning %s\n", error.what());
            std::fflush(stdout);
        }
        const double took = now() - began;
        began_ += took;
        checkpoint_due_ = false;
        next_checkpoint_ = now() + std::max(schedule_.seconds, 30 * took);
    }

    void resume() {
        Loader loader(checkpoint());
        archive(loader);
        loader.check();
        std::fputs(said_.c_str(), stdout);
        std::printf("resumed %llu\nprogress %d %llu\n", number(cycle_), std::max(at_.image, 0), number(cycle_));
        for (size_t i = 0; i < questions_.size(); ++i) ask_host(at_.image, int(i) + 1, questions_[i]);
    }

    // Memory and registers, before anything runs.
    void prepare() {
        for (const auto &c : job_.memory) load(c, blob_);
        for (size_t n = 0; n < nodes_.size(); ++n)
            for (const auto &s : job_.boards[n].registers) nodes_[n]->host.push({true, s.offset, s.value, 0});
        settle();
    }

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

    // What the host reads before a segment.
    std::string question(int segment) {
        std::string bytes;
        auto reads = job_.reads.find(segment);
        if (reads != job_.reads.end())
            for (const auto &c : reads->second)
                bytes.append(reinterpret_cast<const char *>(nodes_[c.node]->memory.data() + c.offset), c.length);
        return bytes;
    }

    // Let the host compute what comes before a segment: what it wants to be written, bytes in host-answer.bin.
    std::vector<Job::Copy> ask_host(int image, int segment, const std::string &question) {
        const double asked = now();
        OutputFile file(folder_ + "/host.bin");
        file.write(question.data(), question.size());
        file.finish();
        std::printf("host %d %d\n", image, segment);
        std::fflush(stdout);
        std::vector<Job::Copy> writes;
        for (std::string line; line != "go";) {
            if (!std::getline(std::cin, line)) {
                if (stop_signal) pause();
                throw std::runtime_error("the host gave no answer");
            }
            std::istringstream words(line);
            std::string key;
            Job::Copy c{};
            if (words >> key >> c.node >> c.offset >> c.length >> c.blob && key == "write")
                writes.push_back(c);
            else if (line != "go")
                throw std::runtime_error("host: can't understand: " + line);
        }
        began_ += now() - asked;
        return writes;
    }

    // Inputs of an image, or the host's answer, to DRAM.
    void feed_segment() {
        if (at_.image < 0) return;
        if (at_.segment == 0) {
            auto inputs = job_.inputs.find(at_.image);
            if (inputs != job_.inputs.end())
                for (const auto &c : inputs->second) load(c, blob_);
            return;
        }
        std::string bytes = question(at_.segment);
        auto writes = ask_host(at_.image, at_.segment, bytes);
        if (!writes.empty()) {
            Blob answer(folder_ + "/host-answer.bin");
            for (const auto &c : writes) load(c, answer);
        }
        questions_.push_back(std::move(bytes));
    }

    void quantum() {
        team_->run(cycle_, cycle_ + job_.link_latency);
        cycle_ += job_.link_latency;
        for (size_t n = 0; n < nodes_.size(); ++n)
            if (!nodes_[n]->failure.empty())
                throw std::runtime_error("node " + std::to_string(n) + ", about cycle " + std::to_string(cycle_) + ": " +
                                         nodes_[n]->failure);
        if (stop_signal && ++stopping_ > 4096) throw Interrupted();  // pause() comes too late: the host bus hangs
        if (++quanta_ % 64 != 0) return;
        const double time = now();
        if (time > next_report_) {
            std::printf("progress %d %llu\n", std::max(at_.image, 0), number(cycle_));
            std::fflush(stdout);
            next_report_ = time + 0.2;
        }
        checkpoint_due_ = schedule_.wanted && time > next_checkpoint_;
    }

    // Until the host has nothing left to do on any node.
    void settle() {
        auto busy = [](const auto &node) { return !node->host.idle(); };
        while (std::any_of(nodes_.begin(), nodes_.end(), busy)) quantum();
    }

    // Run the init programs or the programs of one segment of an image, or what is left of them. False if it did not end
    // well.
    bool run_segment() {
        std::vector<std::pair<Node *, uint64_t>> programs;
        std::vector<Node *> running;
        for (size_t n = 0; n < nodes_.size(); ++n) {
            const Job::Board &board = job_.boards[n];
            auto program = board.programs.find(at_.segment);
            if (!(at_.image < 0 ? board.has_init : program != board.programs.end())) continue;
            programs.emplace_back(nodes_[n].get(), at_.image < 0 ? board.init : program->second);
            running.push_back(nodes_[n].get());
        }
        if (!at_.begun) {
            feed_segment();
            if (running.empty()) return true;
            start(programs);
        }
        wait(running);
        at_.begun = false;
        settle();
        return report(at_.image, at_.segment, running);
    }

    void start(const std::vector<std::pair<Node *, uint64_t>> &programs) {
        // Far enough for PROGRAM to be written before.
        at_.start = cycle_ + job_.link_latency * (1 + 64 / job_.link_latency);
        at_.give_up = job_.max_cycles < UINT64_MAX - at_.start ? at_.start + job_.max_cycles : UINT64_MAX;
        at_.begun = true;
        for (auto &node : nodes_) {
            node->image = at_.image;
            node->tracing = job_.traces.count(at_.image) != 0;
        }
        for (auto &[node, program] : programs) node->start(program, at_.start + job_.boards[size_t(node->index)].delay);
        for (auto &node : nodes_) {
            for (auto &unit : node->profile) unit.clear();
            node->lost.clear();
        }
    }

    // Until all are finished, or long enough.
    void wait(const std::vector<Node *> &running) {
        auto count = [&] { return std::count_if(running.begin(), running.end(), [](Node *n) { return n->finished(); }); };
        for (auto finished = count(); cycle_ < at_.give_up;) {
            pause();
            quantum();
            const auto before = finished;
            finished = count();
            if (size_t(finished) == running.size()) break;
            if (finished == before) continue;
            for (Node *node : running)  // others may wait for ever for one that has failed
                if (node->finished() && failed(*node))
                    at_.give_up = std::min(at_.give_up, node->finished_at + job_.stop_after);
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
            say("state %zu %zu %u\n", i / shape::UNITS, i % shape::UNITS, statuses[i]);
        say("image %d %d %llu %llu\n", image, segment, number(start), number(finish - start));
        if (job_.profile)
            for (size_t n = 0; n < nodes_.size(); ++n) {
                for (int u = 0; u < shape::UNITS; ++u) nodes_[n]->profile[u].drain(profile_, image, segment, int(n), u);
                nodes_[n]->lost.drain(lost_, image, segment, int(n), start, finish);
            }
        return good;
    }

    bool report(int image, int segment, Node &node, uint64_t start) {
        if (!node.finished()) {
            say("late %d %d %d\n", image, segment, node.index);
            return false;
        }
        unsigned long long finished = number(node.finished_at - start);
        if (failed(node)) {
            uint32_t error = ask(node, shape::ERROR), syndrome = ask(node, shape::SYNDROME);
            say("error %d %d %d %llu %u %u\n", image, segment, node.index, finished, error, syndrome);
            return false;
        }
        say("node %d %d %d %llu\n", image, segment, node.index, finished);
        return true;
    }

    const Job &job_;
    const Blob &blob_;
    const std::string folder_;
    const Schedule schedule_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<std::unique_ptr<Wire<Flit>>> wires_;
    OutputFile outputs_, profile_, lost_;
    std::unique_ptr<Team> team_;
    Position at_;
    uint64_t cycle_ = 0, quanta_ = 0;
    double began_ = now(), next_report_ = 0, next_checkpoint_ = now() + schedule_.seconds;
    bool checkpoint_due_ = false;
    int stopping_ = 0;                    // quanta since it was asked to stop
    std::string said_;                    // facts, for standard output
    std::deque<std::string> questions_;   // what the host has read for the image
};

}  // namespace superlip

int main(int argc, char **argv) {
    using namespace superlip;
    if (argc < 4 || argc > 6) {
        std::fprintf(stderr, "usage: %s JOB BYTES FOLDER [SECONDS [CYCLE]]\n", argv[0]);
        return 1;
    }
    std::signal(SIGTERM, [](int) { stop_signal = 1; });
    std::signal(SIGINT, [](int) { stop_signal = 1; });
    std::setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
    try {
        Job job(argv[1]);
        Blob blob(argv[2]);
        Schedule schedule;
        if (argc > 4) {
            schedule.wanted = true;
            schedule.seconds = std::stod(argv[4]);
            schedule.resume = access((std::string(argv[3]) + "/checkpoint.bin").c_str(), F_OK) == 0;
        }
        if (argc > 5) schedule.stop_at = std::stoull(argv[5]);
        Simulation(job, blob, argv[3], schedule).run();
        if (std::fflush(stdout)) throw std::runtime_error("can't write to standard output");
    } catch (const Interrupted &) {
        std::fflush(stdout);
        return 130;
    } catch (const UnusableCheckpoint &error) {
        std::fprintf(stderr, "the checkpoint can't be used: %s\n", error.what());
        return 3;
    } catch (const std::exception &error) {
        std::fflush(stdout);
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
