#include "cli/npy.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>

#include "cli/elements.hpp"
#include "cli/files.hpp"

namespace pando::cli {
namespace {

struct TypeCode {
  DType dtype;
  const char* code;  // kind and size in bytes, as in a header's 'descr'
};
constexpr TypeCode type_codes[] = {{DType::f32, "f4"}, {DType::f64, "f8"}, {DType::f16, "f2"},   {DType::i8, "i1"},
                                   {DType::u8, "u1"},  {DType::i16, "i2"}, {DType::u16, "u2"},   {DType::i32, "i4"},
                                   {DType::u32, "u4"}, {DType::i64, "i8"}, {DType::u64, "u8"},   {DType::boolean, "b1"},
                                   {DType::i8, "b"},   {DType::u8, "B"},   {DType::boolean, "?"}};

struct Header {
  DType dtype = DType::f32;
  bool big_endian = false, fortran = false;
  std::vector<int64_t> shape;
  size_t data_begin = 0;
};

// Reads the Python dictionary of a header: what follows a key's colon.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  std::string_view value(std::string_view key) const {
    for (char quote : {'\'', '"'}) {
      size_t at = text_.find(fmt::format("{0}{1}{0}", quote, key));
      if (at == text_.npos) continue;
      at = text_.find(':', at);
      if (at == text_.npos) break;
      at = text_.find_first_not_of(" \t", at + 1);
      if (at == text_.npos) break;
      return text_.substr(at);
    }
    bad(fmt::format("its header has no '{}'", key));
  }
  [[noreturn]] void bad(const std::string& why) const {
    throw Error(ErrorCode::io, fmt::format("{}: not a NumPy file that can be read: {}", path_, why));
  }

 private:
  std::string_view text_;
  const std::string& path_;
};

void read_type(const HeaderText& text, Header& header) {
  std::string_view value = text.value("descr");
  if (value[0] != '\'' && value[0] != '"') text.bad("structured types are not supported");
  std::string_view code = value.substr(1, value.find(value[0], 1) - 1);
  if (!code.empty() && std::string_view("<>|=").find(code[0]) != std::string_view::npos) {
    header.big_endian = code[0] == '>';
    code.remove_prefix(1);
  }
  for (const TypeCode& t : type_codes)
    if (code == t.code) {
      header.dtype = t.dtype;
      return;
    }
  text.bad(fmt::format("type '{}' is not supported", code));
}

void read_shape(const HeaderText& text, Header& header) {
  std::string_view value = text.value("shape");
  size_t close = value.find(')');
  if (value[0] != '(' || close == value.npos) text.bad("its 'shape' is no tuple");
  value = value.substr(1, close - 1);
  size_t count = 1;
  while (true) {
    size_t begin = value.find_first_not_of(" \t,");
    if (begin == value.npos) break;
    int64_t extent = -1;
    auto [end, error] = std::from_chars(value.data() + begin, value.data() + value.size(), extent);
    if (error != std::errc() || extent < 0) text.bad("its 'shape' holds something else than extents");
    if (extent > 0 && std::max<size_t>(count, 1) > (size_t{1} << 48) / static_cast<size_t>(extent))
      text.bad("its 'shape' is too large");
    count *= static_cast<size_t>(extent);
    header.shape.push_back(extent);
    value.remove_prefix(static_cast<size_t>(end - value.data()));
  }
}

Header read_header(std::string_view bytes, const std::string& path) {
  HeaderText none("", path);
  if (bytes.size() < 10 || bytes.substr(0, 6) != "\x93NUMPY") none.bad("it does not begin with its magic bytes");
  int major = static_cast<unsigned char>(bytes[6]);
  if (major < 1 || major > 3) none.bad(fmt::format("format version {} is not supported", major));
  size_t length_bytes = major == 1 ? 2 : 4, length = 0;
  if (bytes.size() < 8 + length_bytes) none.bad("it is truncated");
  for (size_t i = 0; i < length_bytes; i++) length |= size_t{static_cast<unsigned char>(bytes[8 + i])} << (8 * i);
  if (bytes.size() - 8 - length_bytes < length) none.bad("it is truncated");
  HeaderText text(bytes.substr(8 + length_bytes, length), path);
  Header header;
  header.data_begin = 8 + length_bytes + length;
  read_type(text, header);
  read_shape(text, header);
  std::string_view order = text.value("fortran_order");
  header.fortran = order.starts_with("True");
  if (!header.fortran && !order.starts_with("False")) text.bad("its 'fortran_order' is neither True nor False");
  return header;
}

void swap_bytes(std::byte* data, size_t count, size_t size) {
  for (size_t i = 0; i < count; i++) std::reverse(data + i * size, data + (i + 1) * size);
}

// From the order in which the first index runs fastest.
void from_fortran(const std::byte* from, std::byte* to, const std::vector<int64_t>& shape, size_t count, size_t size) {
  std::vector<int64_t> index(shape.size(), 0);
  std::vector<size_t> stride(shape.size());
  size_t next = 1;
  for (size_t d = 0; d < shape.size(); d++) {
    stride[d] = next;
    next *= static_cast<size_t>(shape[d]);
  }
  for (size_t i = 0; i < count; i++) {
    size_t at = 0;
    for (size_t d = 0; d < shape.size(); d++) at += static_cast<size_t>(index[d]) * stride[d];
    std::memcpy(to + i * size, from + at * size, size);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
}

}  // namespace

Array read_npy(const std::string& path, std::optional<DType> expected) {
  // A file may be much longer than its array.
  constexpr size_t longest_header = size_t{1} << 20;
  std::string bytes = read_file(path, longest_header);
  Header header = read_header(bytes, path);
  size_t count = 1, size = size_of(header.dtype);
  for (int64_t d : header.shape) count *= static_cast<size_t>(d);
  if (bytes.size() == longest_header) bytes = read_file(path, header.data_begin + count * size);
  if (bytes.size() - header.data_begin < count * size)
    throw Error(ErrorCode::io, fmt::format("{}: truncated: {} of {} bytes of data", path,
                                           bytes.size() - header.data_begin, count * size));
  Array array(header.dtype, header.shape);
  auto* data = static_cast<std::byte*>(array.data());
  const auto* file_data = reinterpret_cast<const std::byte*>(bytes.data()) + header.data_begin;
  if (header.fortran && header.shape.size() > 1) from_fortran(file_data, data, header.shape, count, size);
  else std::memcpy(data, file_data, count * size);
  if (header.big_endian != (std::endian::native == std::endian::big) && size > 1) swap_bytes(data, count, size);
  if (header.dtype == DType::boolean)  // NumPy takes any byte but 0 for true
    for (uint8_t& b : array.as<uint8_t>()) b = b != 0;
  return expected == DType::bf16 && header.dtype == DType::f32 ? as_type(array, DType::bf16) : array;
}

Array read_array(const std::string& path, std::optional<DType> expected) {
  if (!path.ends_with(".pb")) return read_npy(path, expected);
  const Array array = load_tensor(path);
  if (expected != DType::bf16 || array.dtype() != DType::u16) return array;
  Array same_bits(DType::bf16, array.shape());
  std::ranges::copy(array.as<uint16_t>(), same_bits.as<uint16_t>().begin());
  return same_bits;
}

std::string npy_bytes(const Array& array) {
  if (array.dtype() == DType::bf16) return npy_bytes(as_type(array, DType::f32));
  const char* code = "";
  for (const TypeCode& t : type_codes)
    if (t.dtype == array.dtype() && code[0] == '\0') code = t.code;
  char order = size_of(array.dtype()) == 1 ? '|' : std::endian::native == std::endian::little ? '<' : '>';
  std::string tuple = fmt::format("{}{}", fmt::join(array.shape(), ", "), array.shape().size() == 1 ? "," : "");
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}", order, code, tuple);
  // Data begin at a multiple of 64 bytes; a newline ends the header.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += {'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  bytes += header;
  return bytes.append(static_cast<const char*>(array.data()), array.bytes());
}

}  // namespace pando::cli
