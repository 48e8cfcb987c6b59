// Output files that appear complete or not at all, with every write checked.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace superlip {

// Not all of it is there, or it is not whole.
class UnusableCheckpoint : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

class OutputFile {
  public:
    // `resumed`: go on with what an interrupted run has kept; go_on_at() comes next.
    explicit OutputFile(const std::string &path, bool resumed = false)
        : path_(path), file_(std::fopen(partial().c_str(), resumed ? "r+b" : "wb")) {
        if (!file_ && resumed) throw UnusableCheckpoint(partial() + ": " + std::strerror(errno));
        if (!file_) fail("can't create");
        std::setvbuf(file_, nullptr, _IOFBF, 1 << 20);
    }
    ~OutputFile() {
        if (!file_) return;
        std::fclose(file_);
        if (!kept_) std::remove(partial().c_str());
    }
    OutputFile(const OutputFile &) = delete;
    OutputFile &operator=(const OutputFile &) = delete;

    void write(const void *data, size_t length) {
        if (length && std::fwrite(data, 1, length, file_) != length) fail("can't write");
        length_ += length;
    }

    // Everything written is on the disk.
    void sync() {
        if (std::fflush(file_) || (fsync(fileno(file_)) && errno != EINVAL && errno != ENOSYS)) fail("can't write");
    }

    // From now on the unfinished file outlives this object: a checkpoint refers to it.
    void keep() { kept_ = true; }

    uint64_t length() const { return length_; }

    // Drop what lies behind `length`.
    void go_on_at(uint64_t length) {
        if (std::fseek(file_, 0, SEEK_END) || uint64_t(std::ftell(file_)) < length)
            throw UnusableCheckpoint(partial() + " is shorter than it was");
        if (ftruncate(fileno(file_), off_t(length)) || std::fseek(file_, 0, SEEK_END)) fail("can't truncate");
        length_ = length;
        kept_ = true;
    }

    // Give the file its name.
    void finish() {
        int closed = std::fclose(file_);
        file_ = nullptr;
        if (closed || std::rename(partial().c_str(), path_.c_str())) {
            int reason = errno;
            std::remove(partial().c_str());
            errno = reason;
            fail("can't write");
        }
    }

  private:
    std::string partial() const { return path_ + ".partial"; }
    [[noreturn]] void fail(const char *what) const {
        throw std::runtime_error(std::string(what) + " " + path_ + ": " + std::strerror(errno));
    }

    std::string path_;
    std::FILE *file_;
    uint64_t length_ = 0;
    bool kept_ = false;
};

}  // namespace superlip
