#include "cli/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "pando/types.hpp"

namespace pando::cli {
namespace {

[[noreturn]] void fail_io(const std::string& path, const char* what, int error) {
  throw Error(ErrorCode::io, fmt::format("{}: cannot {}: {}", path, what, std::strerror(error)));
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

}  // namespace

std::string read_file(const std::string& path, size_t most) {
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe is refused, not waited for
  if (file.fd < 0) fail_io(path, "open", errno);
  struct stat status {};
  if (fstat(file.fd, &status) != 0) fail_io(path, "read", errno);
  if (S_ISDIR(status.st_mode)) fail_io(path, "read", EISDIR);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::io, fmt::format("{}: not a regular file", path));
  constexpr off_t longest_text = off_t{1} << 30;  // a file of holes must not take all memory
  if (most == all && status.st_size > longest_text)
    throw Error(ErrorCode::io, fmt::format("{}: {} bytes are too many for a text", path, status.st_size));
  std::string content;
  char chunk[1 << 16];
  while (content.size() < most) {
    ssize_t n = read(file.fd, chunk, std::min(sizeof chunk, most - content.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io(path, "read", errno);
    if (n == 0) break;
    content.append(chunk, static_cast<size_t>(n));
  }
  return content;
}

void write_file(const std::string& path, std::string_view content, bool follow_links) {
  int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | (follow_links ? 0 : O_NOFOLLOW);
  Descriptor file{open(path.c_str(), flags, 0666)};
  if (file.fd < 0) fail_io(path, "write", errno);
  while (!content.empty()) {
    ssize_t n = write(file.fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io(path, "write", errno);
    content.remove_prefix(static_cast<size_t>(n));
  }
  // Some file systems say only now that the disk is full.
  int fd = file.fd;
  file.fd = -1;
  if (close(fd) != 0) fail_io(path, "write", errno);
}

void make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!std::filesystem::is_directory(path)) fail_io(path, "make the folder", error ? error.value() : ENOTDIR);
}

std::vector<std::string> file_names(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  std::set<std::string> used;
  for (std::string name : names) {
    for (char& c : name)
      if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
            c == '-'))
        c = '_';
    std::string unique = name;
    for (int n = 2; !used.insert(unique).second; n++) unique = fmt::format("{}-{}", name, n);
    out.push_back(unique);
  }
  return out;
}

}  // namespace pando::cli
