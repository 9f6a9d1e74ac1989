#include "import/tensor_data.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "import/file_kind.hpp"

namespace pando::onnx {
namespace {

bool is_four_bit(int32_t type) {
  return type == static_cast<int32_t>(ElementType::u4) || type == static_cast<int32_t>(ElementType::i4);
}

// Two elements per byte, the first in the low half.
TensorPtr widen_four_bit(const TensorProto& proto, DType dtype, std::string_view packed, int64_t count) {
  if (packed.size() != static_cast<size_t>((count + 1) / 2))
    fail(ErrorCode::invalid_model, "tensor '{}' has {} bytes, expected {}", proto.name, packed.size(), (count + 1) / 2);
  auto t = make_tensor(dtype, proto.dims);
  std::byte* out = writable(*t);
  bool is_signed = proto.type == static_cast<int32_t>(ElementType::i4);
  for (int64_t i = 0; i < count; i++) {
    int v = static_cast<uint8_t>(packed[i / 2]) >> (i % 2 * 4) & 15;
    out[i] = static_cast<std::byte>(is_signed && v > 7 ? v - 16 : v);
  }
  return t;
}

// Varint lists hold 32- and 64-bit integers, and smaller types one element per number: keep the low bytes.
void keep_low_bytes(std::span<const uint64_t> numbers, size_t size, std::byte* out) {
  for (uint64_t n : numbers) {
    std::memcpy(out, &n, size);
    out += size;
  }
}

TensorPtr in_place(DType dtype, const Shape& shape, const char* data, std::shared_ptr<const void> owner) {
  auto t = std::make_shared<Tensor>();
  t->dtype = dtype;
  t->shape = shape;
  t->data = reinterpret_cast<const std::byte*>(data);
  t->owner = std::move(owner);
  return t;
}

// Bytes that hold the elements as they are used. Small ones are copied when the file has them unaligned, so that
// code that computes with them while shapes are inferred may use them as they are; large ones stay where they are.
TensorPtr from_raw(const TensorProto& proto, DType dtype, int64_t count, std::string_view raw,
                   std::shared_ptr<const void> owner) {
  constexpr size_t small = 4096;
  if (is_four_bit(proto.type)) return widen_four_bit(proto, dtype, raw, count);
  size_t bytes = static_cast<size_t>(count) * size_of(dtype);
  if (raw.size() != bytes)
    fail(ErrorCode::invalid_model, "tensor '{}' {} {} has {} bytes, expected {}", proto.name, name_of(dtype),
         to_string(proto.dims), raw.size(), bytes);
  bool aligned = reinterpret_cast<uintptr_t>(raw.data()) % size_of(dtype) == 0;
  if ((aligned || bytes > small) && dtype != DType::boolean && bytes > 0)
    return in_place(dtype, proto.dims, raw.data(), std::move(owner));
  auto t = make_tensor(dtype, proto.dims);
  if (bytes) std::memcpy(writable(*t), raw.data(), bytes);
  if (dtype == DType::boolean)  // a file may hold any byte; ours are 0 or 1
    for (size_t i = 0; i < bytes; i++) writable(*t)[i] = writable(*t)[i] != std::byte{0} ? std::byte{1} : std::byte{0};
  return t;
}

TensorPtr from_numbers(const TensorProto& proto, DType dtype, int64_t count, const std::shared_ptr<const void>& owner) {
  bool fixed = dtype == DType::f32 || dtype == DType::f64;
  const NumberField& field = dtype == DType::f32                          ? proto.floats
                             : dtype == DType::f64                        ? proto.doubles
                             : dtype == DType::i64                        ? proto.int64s
                             : dtype == DType::u64 || dtype == DType::u32 ? proto.uint64s
                                                                          : proto.int32s;
  // One packed chunk of floats is the same bytes as raw data.
  if (fixed && !field.packed.empty()) return from_raw(proto, dtype, count, field.packed, owner);
  size_t stored = is_four_bit(proto.type) ? static_cast<size_t>((count + 1) / 2) : static_cast<size_t>(count);
  auto check = [&](size_t n) {
    if (n != stored)
      fail(ErrorCode::invalid_model, "tensor '{}' {} {} has {} elements, expected {}", proto.name, name_of(dtype),
           to_string(proto.dims), n, stored);
  };
  if (fixed) {
    auto copy = [&](const auto& numbers) {
      check(numbers.size());
      auto t = make_tensor(dtype, proto.dims);
      if (count) std::memcpy(writable(*t), numbers.data(), t->bytes());
      return t;
    };
    return dtype == DType::f32 ? copy(read_fixed<float>(field, stored)) : copy(read_fixed<double>(field, stored));
  }
  std::vector<uint64_t> numbers = read_varints(field, stored);
  check(numbers.size());
  if (is_four_bit(proto.type)) return widen_four_bit(proto, dtype, std::string(numbers.begin(), numbers.end()), count);
  if (dtype == DType::boolean)
    for (uint64_t& n : numbers) n = n != 0;
  auto t = make_tensor(dtype, proto.dims);
  keep_low_bytes(numbers, size_of(dtype), writable(*t));
  return t;
}

bool has_no_data(const TensorProto& proto) {
  auto empty = [](const NumberField& f) { return f.packed.empty() && f.chunks.empty(); };
  return empty(proto.floats) && empty(proto.doubles) && empty(proto.int64s) && empty(proto.uint64s) &&
         empty(proto.int32s);
}

// Zeros; memory that is never written is never there. The first elements differ from tensor to tensor, since passes
// merge what is equal.
TensorPtr placeholder(const TensorProto& proto, DType dtype, int64_t count) {
  auto t = make_tensor(dtype, proto.dims);
  uint64_t hash = std::hash<std::string_view>()(proto.name);
  if (dtype == DType::f32)
    for (int64_t i = 0; i < std::min<int64_t>(count, 4); i++) {
      float part = static_cast<float>(hash >> (16 * i) & 0xffff) * 1e-6f;
      std::memcpy(writable(*t) + i * 4, &part, 4);
    }
  return t;
}

uint64_t parse_number(const TensorProto& proto, std::string_view key, std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ErrorCode::invalid_model, "tensor '{}': {} of its external data is not a number", proto.name, key);
  return value;
}

// The end of a message about a file whose content is no tensors at all.
std::string remark_on(std::span<const std::byte> bytes) {
  const std::string kind = kind_of_file(bytes);
  return kind.empty() ? kind : ": it is " + kind;
}

TensorPtr from_file(const TensorProto& proto, DType dtype, int64_t count, ExternalFiles& files,
                    const CompileContext* context) {
  uint64_t offset = 0, length = 0;
  bool has_length = false;
  for (auto [key, value] : proto.external_data) {
    if (key == "offset") offset = parse_number(proto, key, value);
    if (key == "length") {
      length = parse_number(proto, key, value);
      has_length = true;
    }
  }
  const std::string location = location_of(proto);
  if (location.empty()) fail(ErrorCode::invalid_model, "tensor '{}' has external data without a location", proto.name);
  std::shared_ptr<const MappedFile> file = files.open(location, context);
  std::span<const std::byte> bytes = file->bytes();
  if (offset > bytes.size() || (has_length && length > bytes.size() - offset))
    fail(ErrorCode::invalid_model, "tensor '{}': bytes {} + {} are outside of '{}' ({} bytes){}", proto.name, offset,
         length, location, bytes.size(), remark_on(bytes));
  const size_t expected = static_cast<size_t>(is_four_bit(proto.type) ? (count + 1) / 2 : count) * size_of(dtype);
  if (!has_length) length = std::min<uint64_t>(expected, bytes.size() - offset);
  // Booleans and 4-bit integers are copied: a file with holes must not stand for more memory than it has bytes.
  const bool copied = dtype == DType::boolean || is_four_bit(proto.type);
  if (constexpr int64_t always = 64 << 20; copied && count > always + 2 * file->stored_bytes())
    fail(ErrorCode::invalid_model, "tensor '{}' has {} elements, but '{}' holds {} bytes", proto.name, count, location,
         file->stored_bytes());
  std::string_view raw(reinterpret_cast<const char*>(bytes.data()) + offset, length);
  if (length < expected && offset + length == bytes.size())
    fail(ErrorCode::invalid_model, "tensor '{}' {} {} has {} bytes at {} of '{}', expected {}: the file ends early{}",
         proto.name, name_of(dtype), to_string(proto.dims), length, offset, location, expected, remark_on(bytes));
  return from_raw(proto, dtype, count, raw, file);
}

}  // namespace

std::string location_of(const TensorProto& proto) {
  std::string location;
  for (auto [key, value] : proto.external_data)
    if (key == "location") location = std::string(value);
  return location;
}

int64_t checked_count(std::span<const int64_t> shape, int64_t limit, std::string_view kind, std::string_view name,
                      ErrorCode code) {
  int64_t n = 1;
  bool empty = false;
  for (int64_t d : shape) {
    if (d < 0) fail(code, "{} '{}' has a negative dimension: {}", kind, name, to_string(shape));
    if (d == 0) empty = true;
    else if (n > limit / d) fail(code, "{} '{}' is too large: {}", kind, name, to_string(shape));
    else n *= d;
  }
  return empty ? 0 : n;
}

TensorPtr decode_tensor(const TensorProto& proto, const std::shared_ptr<const void>& owner, ExternalFiles& files,
                        const ImportLimits& limits, bool missing_data, const CompileContext* context) {
  DType dtype = to_dtype(proto.type, proto.name);
  int64_t count = checked_count(proto.dims, limits.tensor_elements, "tensor", proto.name);
  if (proto.dims.size() > static_cast<size_t>(max_rank))
    fail(ErrorCode::not_supported, "tensor '{}' has {} dimensions: more than {} are not supported", proto.name,
         proto.dims.size(), max_rank);
  if (proto.external) return from_file(proto, dtype, count, files, context);
  if (proto.raw) return from_raw(proto, dtype, count, *proto.raw, owner);
  if (count > 0 && has_no_data(proto)) {
    if (!missing_data)
      fail(ErrorCode::invalid_model, "tensor '{}' has no data: a model without weights can be planned, not run",
           proto.name);
    return placeholder(proto, dtype, count);
  }
  return from_numbers(proto, dtype, count, owner);
}

}  // namespace pando::onnx
