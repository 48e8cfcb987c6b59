// Saving and restoring state. What belongs to it is listed once, in a function archive(Archive &) that serves both ways.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <sys/stat.h>

#include "files.h"

namespace superlip {

class Archive {
  public:
    explicit Archive(bool loading) : loading(loading) {}
    virtual ~Archive() = default;

    const bool loading;

    // Bytes to the archive, or from it.
    virtual void bytes(void *data, size_t length) = 0;

    template <class... T> void operator()(T &...items) { (item(items), ...); }

  private:
    template <class T> void item(T &value) {
        static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>, "list its members");
        bytes(&value, sizeof value);
    }

    template <class T> void item(std::deque<T> &items) {
        resize(items);
        for (T &i : items) item(i);
    }

    template <class T> void item(std::vector<T> &items) {
        static_assert(std::is_trivially_copyable_v<T>);
        resize(items);
        bytes(items.data(), items.size() * sizeof(T));
    }

    void item(std::string &text) {
        resize(text);
        bytes(text.data(), text.size());
    }

    template <class T> void resize(T &items) {
        uint64_t count = items.size();
        item(count);
        if (loading) items.resize(count);
    }
};

// A checkpoint: three numbers, the state, and the first number again. Python reads the head, too.
constexpr uint64_t CHECKPOINT_MAGIC = 0x31'70'6c'72'65'70'75'73;  // "superlp1"

class Saver final : public Archive {
  public:
    Saver(const std::string &path, uint64_t cycle) : Archive(false), file_(path) {
        uint64_t magic = CHECKPOINT_MAGIC;
        (*this)(magic, cycle);
    }

    void bytes(void *data, size_t length) override { file_.write(data, length); }

    // Now the checkpoint takes the place of the one before.
    void finish() {
        uint64_t magic = CHECKPOINT_MAGIC;
        (*this)(magic);
        file_.sync();
        file_.finish();
    }

  private:
    OutputFile file_;
};

class Loader final : public Archive {
  public:
    explicit Loader(const std::string &path) : Archive(true), file_(std::fopen(path.c_str(), "rb"), std::fclose) {
        if (!file_) throw UnusableCheckpoint(path + ": " + std::strerror(errno));
        check();
        (*this)(cycle);
    }

    void bytes(void *data, size_t length) override {
        if (length && std::fread(data, 1, length, file_.get()) != length) throw UnusableCheckpoint("it ends too early");
    }

    void check() {
        uint64_t magic = 0;
        (*this)(magic);
        if (magic != CHECKPOINT_MAGIC) throw UnusableCheckpoint("it is damaged");
    }

    uint64_t cycle = 0;

  private:
    std::unique_ptr<std::FILE, int (*)(std::FILE *)> file_;
};

}  // namespace superlip
