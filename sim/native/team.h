// Worker threads that run all nodes for a quantum of cycles and meet at its end.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "node.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace superlip {

// A number that one thread raises and another waits for. A quantum is short, so waiting begins with spinning. On a
// machine with more to do than cores, spinning takes the core from the thread that is waited for: then it soon sleeps.
// How long it pays to spin is learned from how long the last waits took; now and then more is tried.
class Milestone {
  public:
    uint64_t reached() const { return value_.load(std::memory_order_acquire); }

    void add() {
        value_.fetch_add(1);
        if (sleepers_.load() == 0) return;
        std::lock_guard<std::mutex> lock(mutex_);
        changed_.notify_all();
    }

    // By one thread only.
    void wait(uint64_t target) {
        const int limit = ++waits_ % 32 == 0 ? MOST_SPINS : spins_;
        for (int i = 0; i < limit; ++i) {
            if (reached() >= target) {
                spins_ = std::max(spins_, std::min(2 * i, MOST_SPINS));
                return;
            }
            pause();
        }
        spins_ = std::max(spins_ / 2, LEAST_SPINS);
        ++sleepers_;
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return value_.load() >= target; });
        --sleepers_;
    }

  private:
    static constexpr int LEAST_SPINS = 100, MOST_SPINS = 4000;  // about 1.5 and 60 microseconds

    static void pause() {
#if defined(__x86_64__) || defined(__i386__)
        _mm_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    alignas(64) std::atomic<uint64_t> value_{0};
    std::atomic<int> sleepers_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
    int spins_ = MOST_SPINS;
    unsigned waits_ = 0;
};

// Node n belongs to thread n % threads; thread 0 is the caller's.
class Team {
  public:
    Team(std::vector<std::unique_ptr<Node>> &nodes, int threads) : nodes_(nodes), size_(threads) {
        for (int i = 1; i < size_; ++i) workers_.emplace_back(new Worker(*this, i));
    }

    ~Team() {
        quit_ = true;
        for (auto &worker : workers_) {
            worker->begun.add();
            worker->thread.join();
        }
    }

    // Simulate cycles from .. to - 1 of all nodes. A node that fails says so in its `failure`.
    void run(uint64_t from, uint64_t to) {
        from_ = from;
        to_ = to;
        for (auto &worker : workers_) worker->begun.add();
        share(0);
        for (auto &worker : workers_) worker->finished.wait(worker->begun.reached());
    }

  private:
    struct Worker {
        Worker(Team &team, int number) : thread([this, &team, number] { work(team, number); }) {}

        void work(Team &team, int number) {
            for (uint64_t round = 1;; ++round) {
                begun.wait(round);
                if (team.quit_) return;
                team.share(number);
                finished.add();
            }
        }

        Milestone begun, finished;  // quanta
        std::thread thread;
    };

    void share(int worker) {
        for (size_t n = size_t(worker); n < nodes_.size(); n += size_t(size_)) {
            if (!nodes_[n]->failure.empty()) continue;
            try {
                nodes_[n]->run(from_, to_);
            } catch (const std::exception &error) {
                nodes_[n]->failure = error.what();
            }
        }
    }

    std::vector<std::unique_ptr<Node>> &nodes_;
    const int size_;
    uint64_t from_ = 0, to_ = 0;
    bool quit_ = false;
    std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace superlip
