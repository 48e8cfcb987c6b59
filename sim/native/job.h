// What a simulation has to do: a text file of one setting a line, and a file of bytes that it refers to.
//
//     boards N | threads N | images N | max_cycles N | stop_after N
//     dram_megabytes N | dram_rate N | dram_overhead N | dram_latency N | link_rate N | link_latency N
//     register NODE OFFSET VALUE             written once, before anything runs
//     init NODE ADDRESS
//     program SEGMENT NODE ADDRESS           an image is one segment or several, one after the other
//     window NODE BUS LENGTH OFFSET          bytes of the bus that are bytes of the DRAM; without any, all are, one to one
//     memory NODE OFFSET LENGTH BLOB         bytes at BLOB of the bytes file, written to DRAM before anything runs
//     input IMAGE NODE OFFSET LENGTH BLOB    the same before an image
//     read SEGMENT NODE OFFSET LENGTH        read from DRAM before a segment (1, 2, ...) of each image, for the host
//     output NODE OFFSET LENGTH              read from DRAM after each image
//     trace IMAGE                            -1: the init programs
//     flip NODE FLIT BIT | cut NODE FLIT     faults on the link out of a node; flits count from 0
//     delay NODE CYCLES                      this node is started later than the others
//     profile 0|1
//     waves FIRST LAST                       cycles; only in a build with waves
//
// Rates are bytes a cycle << 16 (models.h). sim/cluster.py writes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "models.h"

namespace superlip {

struct Job {
    struct Copy {
        int node;
        uint64_t offset, length, blob;
    };
    struct Setting {
        uint32_t offset, value;
    };
    // Of one node.
    struct Board {
        std::vector<Setting> registers;
        std::vector<Window> windows;
        bool has_init = false;
        uint64_t init = 0, delay = 0;
        std::map<int, uint64_t> programs;  // by segment
        std::set<std::pair<uint64_t, unsigned>> flips;
        uint64_t cut = UINT64_MAX;
    };

    int threads = 1, images = 0, segments = 1;
    uint64_t max_cycles = UINT64_MAX, stop_after = 10000;
    uint64_t dram_megabytes = 64, link_latency = 32;
    DramTiming dram{8 << FRACTION_BITS, 0, 40};
    int64_t link_rate = 8 << FRACTION_BITS;
    bool profile = true;
    uint64_t waves_first = 1, waves_last = 0;
    std::vector<Board> boards;
    std::vector<Copy> memory, outputs;
    std::map<int, std::vector<Copy>> inputs;  // by image
    std::map<int, std::vector<Copy>> reads;   // by segment
    std::set<int> traces;

    explicit Job(const std::string &path) {
        std::ifstream file(path);
        if (!file) throw std::runtime_error("can't read " + path);
        std::string line;
        for (int number = 1; std::getline(file, line); ++number) {
            std::istringstream words(line);
            std::string key;
            if (!(words >> key)) continue;
            if (!setting(key, words) || words.fail())
                throw std::runtime_error(path + ":" + std::to_string(number) + ": can't understand: " + line);
        }
    }

  private:
    Board &board(std::istringstream &words) {
        size_t node = 0;
        words >> node;
        if (node >= boards.size()) throw std::runtime_error("job: there is no node " + std::to_string(node));
        return boards[node];
    }

    static Copy copy(std::istringstream &words, bool blob) {
        Copy c{};
        words >> c.node >> c.offset >> c.length;
        if (blob) words >> c.blob;
        return c;
    }

    bool setting(const std::string &key, std::istringstream &words) {
        auto number = [&](auto &value) { return bool(words >> value); };
        if (key == "boards") {
            size_t count = 0;
            words >> count;
            boards.resize(count);
            return count >= 1;
        }
        if (key == "threads") return number(threads) && threads >= 1;
        if (key == "images") return number(images);
        if (key == "max_cycles") return number(max_cycles);
        if (key == "stop_after") return number(stop_after);
        if (key == "dram_megabytes") return number(dram_megabytes);
        if (key == "dram_rate") return number(dram.rate);
        if (key == "dram_overhead") return number(dram.burst_overhead);
        if (key == "dram_latency") return number(dram.latency);
        if (key == "link_rate") return number(link_rate);
        if (key == "link_latency") return number(link_latency) && link_latency >= 1;
        if (key == "profile") return number(profile);
        if (key == "waves") return number(waves_first) && number(waves_last);
        if (key == "memory") return memory.push_back(copy(words, true)), true;
        if (key == "output") return outputs.push_back(copy(words, false)), true;
        if (key == "trace") {
            int image = 0;
            words >> image;
            traces.insert(image);
            return true;
        }
        if (key == "input") {
            int image = 0;
            words >> image;
            inputs[image].push_back(copy(words, true));
            return true;
        }
        if (key == "read") {
            int at = segment(words);
            reads[at].push_back(copy(words, false));
            return true;
        }
        return of_board(key, words);
    }

    int segment(std::istringstream &words) {
        int number = 0;
        words >> number;
        segments = std::max(segments, number + 1);
        return number;
    }

    bool of_board(const std::string &key, std::istringstream &words) {
        if (key == "register") {
            Board &b = board(words);
            Setting s{};
            words >> s.offset >> s.value;
            b.registers.push_back(s);
        } else if (key == "window") {
            Board &b = board(words);
            Window w{};
            words >> w.bus >> w.length >> w.offset;
            b.windows.push_back(w);
        } else if (key == "init") {
            Board &b = board(words);
            b.has_init = bool(words >> b.init);
        } else if (key == "program") {
            int at = segment(words);
            Board &b = board(words);
            words >> b.programs[at];
        } else if (key == "delay") {
            Board &b = board(words);
            words >> b.delay;
        } else if (key == "cut") {
            Board &b = board(words);
            words >> b.cut;
        } else if (key == "flip") {
            Board &b = board(words);
            std::pair<uint64_t, unsigned> flip;
            words >> flip.first >> flip.second;
            b.flips.insert(flip);
        } else {
            return false;
        }
        return true;
    }
};

}  // namespace superlip
