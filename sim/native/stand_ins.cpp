// What stand_ins.sv calls. All state is data that no reset touches; see there and sim/stand_ins.py.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "archive.h"
#include "svdpi.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

namespace {

constexpr int TM = SUPERLIP_TM, TN = SUPERLIP_TN;
static_assert(TN % 8 == 0 && TM % 8 == 0, "channels come in eights");

// Of one kind; handles are their numbers, in order of construction, which is the same in every run.
template <class T> class Pool {
  public:
    template <class... A> int add(A... arguments) {
        items_.emplace_back(new T(arguments...));
        return int(items_.size()) - 1;
    }
    T &operator[](int h) { return *items_[size_t(h)]; }

    void archive(superlip::Archive &a) {
        for (auto &item : items_) item->archive(a);
    }

  private:
    std::vector<std::unique_ptr<T>> items_;
};

// Results on their way: a queue, longer than any latency.
template <class T, int SIZE> struct Queue {
    struct alignas(64) Item {
        T lanes[SIZE];
    };
    static constexpr unsigned LENGTH = 64;
    Item items[LENGTH];
    unsigned first = 0, last = 0;

    T *push() { return items[last++ % LENGTH].lanes; }
    const T *pop() { return items[first++ % LENGTH].lanes; }
    void clear() { first = last = 0; }
};

// Weights of two input channels side by side, [tn / 2][tm][2], as a dot product of pairs wants them.
struct alignas(64) Array {
    using Weights = int16_t[TN / 2][TM][2];
    alignas(64) Weights shadow = {}, active = {};
    Queue<int32_t, TM> sums;

    void archive(superlip::Archive &a) { a(shadow, active, sums); }

    void swap() { std::memcpy(active, shadow, sizeof active); }

    void write(int column, const int8_t *w) {
        for (int n = 0; n < TN; ++n) shadow[n / 2][column][n % 2] = w[n];
    }

    void multiply(const int8_t *x) {
        int32_t *out = sums.push();
#if defined(__AVX2__)
        constexpr int STEP = 8, BLOCK = TM < 64 ? TM / STEP : 8;  // as many sums as there are registers for
        for (int m = 0; m < TM; m += STEP * BLOCK) {
            __m256i total[BLOCK];
            for (auto &t : total) t = _mm256_setzero_si256();
            for (int n = 0; n < TN / 2; ++n) {
                const uint32_t pair = uint16_t(int16_t(x[2 * n])) | uint32_t(uint16_t(int16_t(x[2 * n + 1]))) << 16;
                const __m256i pixel = _mm256_set1_epi32(int32_t(pair));
                for (int b = 0; b < BLOCK; ++b) {
                    const auto *w = reinterpret_cast<const __m256i *>(active[n][m + STEP * b]);
                    total[b] = _mm256_add_epi32(total[b], _mm256_madd_epi16(_mm256_load_si256(w), pixel));
                }
            }
            for (int b = 0; b < BLOCK; ++b) _mm256_store_si256(reinterpret_cast<__m256i *>(out + m + STEP * b), total[b]);
        }
#else
        for (int m = 0; m < TM; ++m) out[m] = 0;
        for (int n = 0; n < TN / 2; ++n)
            for (int m = 0; m < TM; ++m) out[m] += active[n][m][0] * x[2 * n] + active[n][m][1] * x[2 * n + 1];
#endif
    }
};

struct Banks {
    explicit Banks(int words) : words(words), bytes(size_t(words) * TN) {}
    int words;
    std::vector<int8_t> bytes;
    int8_t fetched[16][TN] = {};

    void archive(superlip::Archive &a) { a(bytes, fetched); }

    void read(int reader, int address) {
        if (address < words)
            std::memcpy(fetched[reader], &bytes[size_t(address) * TN], TN);
        else
            std::memset(fetched[reader], 0, TN);
    }

    void write(int address, const int8_t *data, const uint32_t *mask) {
        if (address >= words) return;
        int8_t *word = &bytes[size_t(address) * TN];
        for (int n = 0; n < TN; ++n) word[n] = mask[n / 32] >> (n % 32) & 1 ? data[n] : word[n];
    }
};

struct alignas(64) Sums {
    struct alignas(64) Word {
        int32_t lanes[TM];
    };
    explicit Sums(int words) : half(words / 2), memory(size_t(words)) {}
    int half;
    std::vector<Word> memory;
    Word read[2] = {}, latched[2] = {}, total = {}, next = {};

    void archive(superlip::Archive &a) { a(memory, read, latched, total, next); }

    void add(int bank, bool overwrite, const int32_t *psum) {
        const int32_t keep = overwrite ? 0 : -1;
        for (int m = 0; m < TM; ++m) next.lanes[m] = int32_t(uint32_t(latched[bank].lanes[m] & keep) + uint32_t(psum[m]));
    }
};

// VECTOR's lanes, requantization, table and lane groups. A step's arithmetic is done when it enters; its result waits in a queue.
struct alignas(64) Lanes {
    enum Flag { PRESENT = 1, SECOND = 2, FIRST = 4, LAST = 8, USE_TABLE = 16 };
    enum Op { REQUANTIZE, MAX, SUM, ADD, MUL, DEPTHWISE };
    static constexpr int KERNEL = 3, MOST_ROWS = 64;
    struct Step {
        int flags, op, row, zp, zp_out, low, high, shift, lane_max;
    };
    int32_t first[TN] = {}, x[TN] = {}, word[TN] = {};
    uint32_t second[TN] = {};
    int64_t total[TN] = {};
    uint8_t table[256] = {};
    int8_t weights[KERNEL * KERNEL][TN] = {};
    // Of the column of a window's last pixels: sums of the one and of the two products above, for each kernel column.
    int32_t one[KERNEL][TN] = {}, two[KERNEL][TN] = {};
    // By row: sums of the products of the first column of a window, and of the first two.
    int32_t column_one[MOST_ROWS][TN] = {}, column_two[MOST_ROWS][TN] = {};
    Queue<int8_t, TN> results;

    void archive(superlip::Archive &a) { a(first, x, word, second, total, table, weights, one, two, column_one, column_two, results); }

    static int64_t wrap36(int64_t v) { return int64_t(uint64_t(v) << 28) >> 28; }
    static int32_t wrap27(uint32_t v) { return int32_t(v << 5) >> 5; }
    static int32_t wrap9(int64_t v) { return int32_t(uint32_t(v) << 23) >> 23; }

    void step(const Step &s, const int8_t *act, const int32_t *acc) {
        if (s.op == REQUANTIZE && s.flags & FIRST && s.flags & LAST) {  // most steps
            requantize_one(s, acc);
            return;
        }
        if (s.op == DEPTHWISE) {
            depthwise(s, act);
            return;
        }
        const bool present = s.flags & PRESENT, is_acc = s.op == REQUANTIZE, is_first = s.flags & FIRST;
        const int32_t neutral = s.op == MAX ? -128 : 0, least = is_acc ? INT32_MIN : 0;
        for (int n = 0; n < TN; ++n) {
            const int32_t sums = present && is_acc ? acc[n] : least;
            const int32_t before = x[n];
            x[n] = present && !is_acc ? act[n] - s.zp : neutral;
            if (is_first || sums > word[n]) word[n] = sums;
            const int32_t mult = s.op == ADD ? wrap27(s.flags & SECOND ? second[n] : uint32_t(first[n]))
                                 : s.op == MUL ? before : 1;
            const int64_t product = wrap36(int64_t(x[n]) * mult);
            if (s.op == MAX) {
                if (is_first || wrap9(product) > wrap9(total[n])) total[n] = product;
                continue;
            }
            const int32_t base = int32_t(uint32_t(word[n]) + (s.op == ADD ? 0u : uint32_t(first[n])));
            total[n] = wrap36((is_first || is_acc ? base : total[n]) + product);
        }
        if (!(s.flags & LAST)) return;
        int8_t *out = results.push();
        if (s.op == MAX || s.op == ADD)
            for (int n = 0; n < TN; ++n)
                out[n] = int8_t(clip(round_half_even(total[n], s.op == ADD ? s.shift : 0) + (s.op == MAX ? 0 : s.zp_out), s));
        else {
            int32_t sums[TN];
            for (int n = 0; n < TN; ++n) sums[n] = int32_t(total[n]);
            scale(s, sums, out);
        }
        finish(s, out);
    }

    void params(int index, const uint32_t *words) {
        if (index >= 8) {  // the weights behind them
            std::memcpy(weights[index - 8], words, TN);
            return;
        }
        const int count = TN / 8;  // a lane has eight bytes
        for (int i = 0; i < count; ++i) {
            first[index * count + i] = int32_t(words[2 * i]);
            second[index * count + i] = words[2 * i + 1];
        }
    }

  private:
    // A pixel of a column, and the window that ends there.
    void depthwise(const Step &s, const int8_t *act) {
        int32_t *line_one = column_one[s.row], *line_two = column_two[s.row];
        for (int n = 0; n < TN; ++n) {
            const int32_t pixel = s.flags & PRESENT ? act[n] : s.zp;
            int32_t sums[KERNEL];
            for (int k = 0; k < KERNEL; ++k) {
                sums[k] = two[k][n] + pixel * weights[2 * KERNEL + k][n];
                two[k][n] = one[k][n] + pixel * weights[KERNEL + k][n];
                one[k][n] = pixel * weights[k][n];
            }
            word[n] = 0;
            x[n] = pixel;
            total[n] = int32_t(uint32_t(first[n]) + uint32_t(line_two[n] + sums[2]));
            line_two[n] = line_one[n] + sums[1];
            line_one[n] = sums[0];
        }
        if (!(s.flags & LAST)) return;
        int32_t sums[TN];
        for (int n = 0; n < TN; ++n) sums[n] = int32_t(total[n]);
        int8_t *out = results.push();
        scale(s, sums, out);
        finish(s, out);
    }

    // A window of one word of sums.
    void requantize_one(const Step &s, const int32_t *acc) {
        int32_t sums[TN];
        for (int n = 0; n < TN; ++n) {
            word[n] = s.flags & PRESENT ? acc[n] : INT32_MIN;
            sums[n] = int32_t(uint32_t(word[n]) + uint32_t(first[n]));
            x[n] = 0;
            total[n] = sums[n];
        }
        int8_t *out = results.push();
        scale(s, sums, out);
        finish(s, out);
    }

    // IEEE float32, as the RTL has it: the sum is rounded to 24 bits, the product, and then to an integer.
    void scale(const Step &s, const int32_t *sums, int8_t *out) const {
        float factors[TN];
        std::memcpy(factors, second, sizeof factors);
        int32_t whole[TN];
        for (int n = 0; n < TN; ++n) {
            float product = float(sums[n]) * factors[n];
            product = product < -1024.f ? -1024.f : product > 1024.f ? 1024.f : product;
            whole[n] = int32_t(std::nearbyintf(product));
        }
        for (int n = 0; n < TN; ++n) {
            const int32_t v = whole[n] + s.zp_out, raised = v < s.low ? s.low : v;
            out[n] = int8_t(raised > s.high ? s.high : raised);
        }
    }

    static int64_t clip(int64_t v, const Step &s) {
        const int64_t raised = v < s.low ? s.low : v;
        return raised > s.high ? s.high : raised;
    }

    static int64_t round_half_even(int64_t v, int shift) {
        if (shift == 0) return v;
        const int64_t floor = v >> shift, rest = v - (floor << shift), half = int64_t(1) << (shift - 1);
        return floor + (rest > half || (rest == half && (floor & 1)));
    }

    // The table, and the maximum over lane groups: halves, then quarters.
    void finish(const Step &s, int8_t *out) const {
        if (s.flags & USE_TABLE)
            for (int n = 0; n < TN; ++n) out[n] = int8_t(table[uint8_t(out[n])]);
        for (int level = 1; level <= s.lane_max; ++level) {
            const int apart = TN >> level;
            for (int n = 0; n < TN; ++n)
                if (!(n & apart)) out[n] = out[n + apart] = std::max(out[n], out[n + apart]);
        }
    }
};

Pool<Array> arrays;
Pool<Banks> banks;
Pool<Sums> sums;
Pool<Lanes> lanes;

const int8_t *bytes(const svBitVecVal *v) { return reinterpret_cast<const int8_t *>(v); }
const int32_t *words(const svBitVecVal *v) { return reinterpret_cast<const int32_t *>(v); }

}  // namespace

namespace superlip {

// The state of all stand-ins, for checkpoints.
void archive_stand_ins(Archive &a) {
    arrays.archive(a);
    banks.archive(a);
    sums.archive(a);
    lanes.archive(a);
}

}  // namespace superlip

extern "C" {

int superlip_array_new() { return arrays.add(); }
void superlip_array_swap(int h) { arrays[h].swap(); }
void superlip_array_multiply(int h, const svBitVecVal *x) { arrays[h].multiply(bytes(x)); }
void superlip_array_write(int h, int column, const svBitVecVal *data) { arrays[h].write(column, bytes(data)); }
void superlip_array_take(int h, svBitVecVal *psum) { std::memcpy(psum, arrays[h].sums.pop(), 4 * TM); }
void superlip_array_clear(int h) { arrays[h].sums.clear(); }

int superlip_banks_new(int count) { return banks.add(count); }
void superlip_banks_take(int h, int reader, svBitVecVal *data) { std::memcpy(data, banks[h].fetched[reader], TN); }
void superlip_banks_read(int h, int reader, int address) { banks[h].read(reader, address); }
void superlip_banks_write(int h, int address, const svBitVecVal *data, const svBitVecVal *mask) {
    banks[h].write(address, bytes(data), mask);
}

int superlip_sums_new(int count) { return sums.add(count); }
void superlip_sums_add(int h, svBit half, svBit overwrite, const svBitVecVal *psum) {
    sums[h].add(half, overwrite, words(psum));
}
void superlip_sums_latch(int h, svBit half) { sums[h].latched[half] = sums[h].read[half]; }
void superlip_sums_fetch(int h, int address) {
    Sums &s = sums[h];
    s.read[address >= s.half] = s.memory[size_t(address)];
}
void superlip_sums_store(int h, int address) { sums[h].memory[size_t(address)] = sums[h].total; }
void superlip_sums_done(int h) { sums[h].total = sums[h].next; }
void superlip_sums_take(int h, svBit half, svBitVecVal *data) { std::memcpy(data, sums[h].latched[half].lanes, 4 * TM); }

int superlip_lanes_new() { return lanes.add(); }
void superlip_lanes_step(int h, const svBitVecVal *act, const svBitVecVal *acc, int flags, int op, int row, int zp, int zp_out,
                         int low, int high, int shift, int lane_max) {
    lanes[h].step({flags, op, row, zp, zp_out, low, high, shift, lane_max}, bytes(act), words(acc));
}
void superlip_lanes_params(int h, int index, const svBitVecVal *word) { lanes[h].params(index, word); }
void superlip_lanes_row(int h, int index, int row) { std::memcpy(lanes[h].table + 4 * index, &row, 4); }
void superlip_lanes_take(int h, svBitVecVal *o) { std::memcpy(o, lanes[h].results.pop(), TN); }
void superlip_lanes_clear(int h) { lanes[h].results.clear(); }

}  // extern "C"
