// Reading and writing whole files, with errors that name path and cause.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pando::cli {

// All of a text, which is a regular file of 1 GiB or less; or the first `most` bytes of any file. Throws Error io.
constexpr size_t all = SIZE_MAX;
std::string read_file(const std::string& path, size_t most = all);
// Replaces the file's content; what the disk has no room for is an error. `follow_links`: false refuses to write
// through a symbolic link.
void write_file(const std::string& path, std::string_view content, bool follow_links = true);
// Makes the folder and those above it.
void make_folder(const std::string& path);

// File names for tensors of these names, without extension: other characters than A-Za-z0-9._- become '_', names that
// come out alike are told apart by -2, -3.
std::vector<std::string> file_names(const std::vector<std::string>& names);

}  // namespace pando::cli
