// What a file holds that is not the model or the weights that it should be, for messages.
#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace pando {

// "a Git LFS pointer ..", "an HTML page", "a ZIP archive", ..; empty when nothing tells.
std::string kind_of_file(std::span<const std::byte> bytes);
// "it ends early: .." when a field of the outermost protobuf message is longer than what is left; empty otherwise.
std::string where_cut_off(std::span<const std::byte> bytes);

}  // namespace pando
