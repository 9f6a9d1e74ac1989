#include "base/attributes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"

namespace pando {

std::span<const std::byte> ByteReader::take(size_t bytes) {
  if (bytes > left_.size()) fail(ErrorCode::invalid_model, "it ends early");
  const std::span<const std::byte> front = left_.first(bytes);
  left_ = left_.subspan(bytes);
  return front;
}

namespace attributes {

size_t read_count(ByteReader& in, size_t bytes) {
  size_t count = 0;
  read_bytes(in, count);
  if (count > in.left() / bytes) fail(ErrorCode::invalid_model, "a list of {} elements is longer than the file", count);
  return count;
}

void read_bytes(ByteReader& in, std::string& text) {
  const std::span<const std::byte> bytes = in.take(read_count(in, 1));
  text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void read_bytes(ByteReader& in, Number& number) {
  uint8_t index = 0;
  read_bytes(in, index);
  if (index == 0) number = double{};
  else if (index == 1) number = int64_t{};
  else number = uint64_t{};
  std::visit([&](auto& value) { read_bytes(in, value); }, number);
}

// The shortest text that reads back as the same number.
void append_text(std::string& out, double value) { fmt::format_to(std::back_inserter(out), "{}", value); }
void append_text(std::string& out, float value) { fmt::format_to(std::back_inserter(out), "{}", value); }
void append_text(std::string& out, int64_t value) { fmt::format_to(std::back_inserter(out), "{}", value); }
void append_text(std::string& out, uint64_t value) { fmt::format_to(std::back_inserter(out), "{}", value); }
void append_text(std::string& out, const Number& number) {
  std::visit([&](auto value) { append_text(out, value); }, number);
}

std::string_view next_name(std::string_view& names) {
  const size_t end = std::min(names.find(','), names.size());
  std::string_view name = names.substr(0, end);
  names.remove_prefix(std::min(end + 1, names.size()));
  name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
  return name;
}

void permute(AxisSet& axes, const std::vector<int64_t>& perm) {
  for (int64_t& axis : axes) axis = perm[static_cast<size_t>(axis)];
  std::sort(axes.begin(), axes.end());
}

void wrong_type() { fail(ErrorCode::internal, "attributes of another operator"); }

}  // namespace attributes

void read_bytes(ByteReader&, Attributes&) {
  fail(ErrorCode::internal, "attributes of another operator cannot be read back");
}

bool Attributes::operator==(const Attributes& other) const {
  if (!held_ || !other.held_) return held_ == other.held_;
  if (held_->type != other.held_->type) return false;
  std::string a, b;
  held_->append_bytes(a);
  other.held_->append_bytes(b);
  return a == b;
}

std::string Attributes::text() const {
  std::string out;
  if (held_) held_->append_text(out);
  return out;
}

Attributes Attributes::permuted(const std::vector<int64_t>& perm) const {
  Attributes out = *this;
  if (out.held_) out.held_->permute(perm);
  return out;
}

}  // namespace pando
