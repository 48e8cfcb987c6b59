// Worker threads that run all nodes for a quantum of cycles and meet at its end.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#include "node.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace superlip {

// Spin for some microseconds, since a quantum is short; then let others run.
class Patience {
  public:
    void wait() {
        if (++tries_ < 2000) {
#if defined(__x86_64__) || defined(__i386__)
            _mm_pause();
#elif defined(__aarch64__)
            asm volatile("yield");
#endif
        } else {
            std::this_thread::yield();
        }
    }

  private:
    int tries_ = 0;
};

// Node n belongs to thread n % threads; thread 0 is the caller's.
class Team {
  public:
    Team(std::vector<std::unique_ptr<Node>> &nodes, int threads) : nodes_(nodes), size_(threads) {
        for (int i = 1; i < size_; ++i) workers_.emplace_back([this, i] { work(i); });
    }

    ~Team() {
        from_ = to_ = 0;
        quit_.store(true, std::memory_order_relaxed);
        round_.fetch_add(1, std::memory_order_release);
        for (std::thread &worker : workers_) worker.join();
    }

    // Simulate cycles from .. to - 1 of all nodes. A node that fails says so in its `failure`.
    void run(uint64_t from, uint64_t to) {
        from_ = from;
        to_ = to;
        finished_.store(0, std::memory_order_relaxed);
        round_.fetch_add(1, std::memory_order_release);
        share(0);
        for (Patience patience; finished_.load(std::memory_order_acquire) != size_ - 1;) patience.wait();
    }

  private:
    void work(int worker) {
        for (uint64_t seen = 0;; ++seen) {
            for (Patience patience; round_.load(std::memory_order_acquire) == seen;) patience.wait();
            if (quit_.load(std::memory_order_relaxed)) return;
            share(worker);
            finished_.fetch_add(1, std::memory_order_release);
        }
    }

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
    std::vector<std::thread> workers_;
    std::atomic<bool> quit_{false};
    alignas(64) std::atomic<uint64_t> round_{0};
    alignas(64) std::atomic<int> finished_{0};
};

}  // namespace superlip
