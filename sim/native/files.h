// Output files that appear complete or not at all, with every write checked.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

namespace superlip {

class OutputFile {
  public:
    explicit OutputFile(const std::string &path) : path_(path), file_(std::fopen(partial().c_str(), "wb")) {
        if (!file_) fail("can't create");
        std::setvbuf(file_, nullptr, _IOFBF, 1 << 20);
    }
    ~OutputFile() {
        if (!file_) return;
        std::fclose(file_);
        std::remove(partial().c_str());
    }
    OutputFile(const OutputFile &) = delete;
    OutputFile &operator=(const OutputFile &) = delete;

    void write(const void *data, size_t length) {
        if (length && std::fwrite(data, 1, length, file_) != length) fail("can't write");
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
};

}  // namespace superlip
