#include "import/file_kind.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <protozero/pbf_reader.hpp>
#include <string_view>

namespace pando {
namespace {

constexpr size_t head_bytes = 1024;  // enough to know a file by

struct Magic {
  size_t offset;
  std::string_view bytes;
  const char* name;
};
constexpr Magic magics[] = {
    {0, "version https://git-lfs", "a Git LFS pointer, not the file itself (\"git lfs pull\" fetches it)"},
    {0, "\x93PANDO\r\n", "a compiled model, which only run, bench, trace, inspect and Model::load take"},
    {0, {"PK\3\4", 4}, "a ZIP archive"},
    {0, {"\x1f\x8b", 2}, "a gzip file"},
    {0, {"\x28\xb5\x2f\xfd", 4}, "a Zstandard file"},
    {0, {"BZh", 3}, "a bzip2 file"},
    {0,
     {"\xfd"
      "7zXZ",
      5},
     "an xz file"},
    {0, {"7z\xbc\xaf", 4}, "a 7z archive"},
    {257, "ustar", "a tar archive"},
    {0, "%PDF-", "a PDF document"},
    {0, {"\x89HDF", 4}, "an HDF5 file"},
    {0, "GGUF", "a GGUF file"},
    {4, "TFL3", "a TensorFlow Lite model"},
    {4, "ORTM", "a model in ONNX Runtime's own format, not ONNX"},
    {0, {"\x93NUMPY", 6}, "a NumPy array"},
    {8, "{\"__metadata__\"", "a safetensors file"},
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Printable text of any encoding that extends ASCII.
bool is_text(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) >= ' ' || is_space(c); });
}

std::string first_line(std::string_view text) {
  constexpr size_t shown = 60;
  std::string line(text.substr(0, std::min(text.find_first_of("\r\n"), shown)));
  for (char& c : line)
    if (static_cast<unsigned char>(c) >= 0x7f || c < ' ') c = '?';
  return line;
}

}  // namespace

std::string kind_of_file(std::span<const std::byte> bytes) {
  if (bytes.empty()) return "empty";
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), head_bytes));
  for (const Magic& m : magics)
    if (head.size() >= m.offset && head.substr(m.offset).starts_with(m.bytes)) return m.name;
  if (std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }))
    return "zeros only, such as an incomplete download leaves";
  if (!is_text(head)) return {};
  std::string_view text = head.starts_with("\xef\xbb\xbf") ? head.substr(3) : head;
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  std::string start(text.substr(0, 16));
  std::transform(start.begin(), start.end(), start.begin(), lower);
  if (start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head"))
    return "an HTML page";
  if (start.starts_with("<?xml") || start.starts_with("<!doctype")) return "an XML document";
  return fmt::format("a text file that begins with '{}'", first_line(text));
}

std::string where_cut_off(std::span<const std::byte> bytes) {
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  protozero::pbf_reader reader(begin, bytes.size());
  size_t at = 0;
  try {
    while (reader.next()) {
      reader.skip();
      at = bytes.size() - reader.length();
    }
  } catch (const protozero::end_of_buffer_exception&) {
    return fmt::format("it ends early: the field at byte {} is longer than the file of {} bytes", at, bytes.size());
  } catch (const protozero::exception&) {
  }
  return {};
}

}  // namespace pando
