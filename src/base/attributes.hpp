// Attributes of operators: one struct per operator, each with one list of its fields, held as values of one type.
// Equality, text, bytes for files and back, and the change of axes under a permutation come from that list.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

// Inside a struct: all of its fields, in order. Attributes refuses at compile time a list that lacks one.
#define PANDO_FIELDS(...)                                                  \
  static constexpr std::string_view field_names() { return #__VA_ARGS__; } \
  auto fields() { return std::tie(__VA_ARGS__); }                          \
  auto fields() const { return std::tie(__VA_ARGS__); }

namespace pando {

// ---- types of fields that name dimensions of operand 0: they change when its dimensions are permuted ----

// The number of a dimension.
class Axis {
 public:
  constexpr Axis(int64_t index = 0) : index_(index) {}
  constexpr operator int64_t() const { return index_; }
  constexpr int64_t index() const { return index_; }

 private:
  int64_t index_;
};
// Numbers of dimensions, ascending.
struct AxisSet : std::vector<int64_t> {
  using std::vector<int64_t>::vector;
  AxisSet(std::vector<int64_t> list) : std::vector<int64_t>(std::move(list)) {}
};
// Empty, or an element per dimension.
template <class T>
struct PerAxis : std::vector<T> {
  using std::vector<T>::vector;
  PerAxis(std::vector<T> list) : std::vector<T>(std::move(list)) {}
};

// A number of any element type, exactly.
using Number = std::variant<double, int64_t, uint64_t>;

template <class T>
concept HasFields = requires(const T& x) {
  x.fields();
};

// Takes values off the front of bytes that append_bytes made. Throws invalid_model where they end early.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : left_(bytes) {}
  std::span<const std::byte> take(size_t bytes);
  size_t left() const { return left_.size(); }

 private:
  std::span<const std::byte> left_;
};

namespace attributes {

// What converts to any field: counts the fields of an aggregate.
struct AnyField {
  template <class T>
  operator T() const;
};
template <class T, class... Fields>
consteval size_t count_fields() {
  if constexpr (requires { T{Fields{}..., AnyField{}}; }) return count_fields<T, Fields..., AnyField>();
  else return sizeof...(Fields);
}
template <HasFields T>
inline constexpr size_t listed_fields = std::tuple_size_v<decltype(std::declval<const T&>().fields())>;

// Bits of a value such that equal bytes mean equal values: -0.0 and 0.0 differ, NaN equals itself.
template <class T>
requires std::is_arithmetic_v<T> || std::is_enum_v<T>
void append_bytes(std::string& out, T value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }
inline void append_bytes(std::string& out, Axis axis) { append_bytes(out, static_cast<int64_t>(axis)); }
inline void append_bytes(std::string& out, const Number& number) {
  append_bytes(out, static_cast<uint8_t>(number.index()));
  std::visit([&](auto value) { append_bytes(out, value); }, number);
}
inline void append_bytes(std::string& out, const std::string& text) {
  append_bytes(out, text.size());
  out += text;
}
template <class T>
void append_bytes(std::string& out, const std::vector<T>& list);
template <HasFields T>
void append_bytes(std::string& out, const T& value) {
  static_assert(count_fields<T>() == listed_fields<T>, "PANDO_FIELDS must list every field");
  std::apply([&](const auto&... field) { (append_bytes(out, field), ...); }, value.fields());
}
template <class T>
void append_bytes(std::string& out, const std::vector<T>& list) {
  append_bytes(out, list.size());
  if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::byte>)
    out.append(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(T));
  else
    for (const T& x : list) append_bytes(out, x);
}

// The inverse of append_bytes.
template <class T>
requires std::is_arithmetic_v<T> || std::is_enum_v<T>
void read_bytes(ByteReader& in, T& value) { std::memcpy(&value, in.take(sizeof value).data(), sizeof value); }
inline void read_bytes(ByteReader& in, bool& value) { value = in.take(1)[0] != std::byte{0}; }
inline void read_bytes(ByteReader& in, Axis& axis) {
  int64_t index = 0;
  read_bytes(in, index);
  axis = index;
}
void read_bytes(ByteReader& in, Number& number);
void read_bytes(ByteReader& in, std::string& text);
template <class T>
void read_bytes(ByteReader& in, std::vector<T>& list);
template <HasFields T>
void read_bytes(ByteReader& in, T& value) {
  static_assert(count_fields<T>() == listed_fields<T>, "PANDO_FIELDS must list every field");
  std::apply([&](auto&... field) { (read_bytes(in, field), ...); }, value.fields());
}
// How many elements follow, of at least `bytes` each.
size_t read_count(ByteReader& in, size_t bytes);
template <class T>
void read_bytes(ByteReader& in, std::vector<T>& list) {
  if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::byte>) {
    list.resize(read_count(in, sizeof(T)));
    if (!list.empty()) std::memcpy(list.data(), in.take(list.size() * sizeof(T)).data(), list.size() * sizeof(T));
  } else {
    list.resize(read_count(in, 1));
    for (T& x : list) read_bytes(in, x);
  }
}

void append_text(std::string& out, double value);
void append_text(std::string& out, float value);
void append_text(std::string& out, int64_t value);
void append_text(std::string& out, uint64_t value);
void append_text(std::string& out, const Number& number);
inline void append_text(std::string& out, bool value) { out += value ? "true" : "false"; }
inline void append_text(std::string& out, int value) { append_text(out, static_cast<int64_t>(value)); }
inline void append_text(std::string& out, uint8_t value) { append_text(out, static_cast<int64_t>(value)); }
inline void append_text(std::string& out, Axis axis) { append_text(out, static_cast<int64_t>(axis)); }
template <class T>
requires std::is_enum_v<T>
void append_text(std::string& out, T value) {
  if constexpr (requires { name_of(value); }) out += name_of(value);
  else append_text(out, static_cast<int64_t>(value));
}
template <class T>
void append_text(std::string& out, const std::vector<T>& list);
// The next name of a list as PANDO_FIELDS keeps it; takes it off.
std::string_view next_name(std::string_view& names);
template <HasFields T>
void append_text(std::string& out, const T& value) {
  std::string_view names = T::field_names();
  const auto add = [&](const auto& field) {
    if (!out.empty() && out.back() != '{') out += ' ';
    out += next_name(names);
    out += '=';
    if constexpr (HasFields<std::remove_cvref_t<decltype(field)>>) {
      out += '{';
      append_text(out, field);
      out += '}';
    } else {
      append_text(out, field);
    }
  };
  std::apply([&](const auto&... field) { (add(field), ...); }, value.fields());
}
template <class T>
void append_text(std::string& out, const std::vector<T>& list) {
  out += '[';
  for (size_t i = 0; i < list.size(); i++) {
    if (i > 0) out += ',';
    if constexpr (HasFields<T>) out += '{';
    append_text(out, list[i]);
    if constexpr (HasFields<T>) out += '}';
  }
  out += ']';
}

// The field for an operand x where it was for transpose(x, perm): dimension i of that is dimension perm[i] of x.
template <class T>
void permute(T&, const std::vector<int64_t>&) {}
inline void permute(Axis& axis, const std::vector<int64_t>& perm) { axis = perm[static_cast<size_t>(axis)]; }
void permute(AxisSet& axes, const std::vector<int64_t>& perm);
template <class T>
void permute(PerAxis<T>& list, const std::vector<int64_t>& perm) {
  if (list.empty()) return;
  const PerAxis<T> old = list;
  for (size_t i = 0; i < perm.size(); i++) list[static_cast<size_t>(perm[i])] = old[i];
}

[[noreturn]] void wrong_type();

}  // namespace attributes

// A struct of attributes, or none. A value: copies are independent.
class Attributes {
 public:
  Attributes() = default;
  template <HasFields A>
  Attributes(A value) : held_(std::make_unique<Held<A>>(std::move(value))) {}
  Attributes(const Attributes& other) : held_(other.held_ ? other.held_->clone() : nullptr) {}
  Attributes(Attributes&&) noexcept = default;
  Attributes& operator=(const Attributes& other) { return *this = Attributes(other); }
  Attributes& operator=(Attributes&&) noexcept = default;

  bool empty() const { return !held_; }
  // Throws internal when another struct, or none, is held.
  template <HasFields A>
  const A& as() const {
    if (!held_ || held_->type != &Held<A>::tag) attributes::wrong_type();
    return static_cast<const Held<A>&>(*held_).value;
  }
  template <HasFields A>
  A& as() {
    return const_cast<A&>(std::as_const(*this).as<A>());
  }
  // Equal bytes mean equal attributes of one operator.
  void append_bytes(std::string& out) const {
    if (held_) held_->append_bytes(out);
  }
  // Into the struct that is held.
  void read_bytes(ByteReader& in) {
    if (held_) held_->read_bytes(in);
  }
  bool operator==(const Attributes& other) const;
  std::string text() const;  // "strides=[1,1] group=1"; "" for none
  // For an operand x where these are for transpose(x, perm): its dimension i is dimension perm[i] of x.
  Attributes permuted(const std::vector<int64_t>& perm) const;

 private:
  struct Base {
    const char* type;  // an address per struct
    explicit Base(const char* t) : type(t) {}
    virtual ~Base() = default;
    virtual std::unique_ptr<Base> clone() const = 0;
    virtual void append_bytes(std::string& out) const = 0;
    virtual void read_bytes(ByteReader& in) = 0;
    virtual void append_text(std::string& out) const = 0;
    virtual void permute(const std::vector<int64_t>& perm) = 0;
  };
  template <HasFields A>
  struct Held final : Base {
    static constexpr char tag = 0;
    A value;
    explicit Held(A v) : Base(&tag), value(std::move(v)) {}
    std::unique_ptr<Base> clone() const override { return std::make_unique<Held>(value); }
    void append_bytes(std::string& out) const override { attributes::append_bytes(out, value); }
    void read_bytes(ByteReader& in) override { attributes::read_bytes(in, value); }
    void append_text(std::string& out) const override { attributes::append_text(out, value); }
    void permute(const std::vector<int64_t>& perm) override {
      std::apply([&](auto&... field) { (attributes::permute(field, perm), ...); }, value.fields());
    }
  };
  std::unique_ptr<Base> held_;
};

// As fields of other attributes.
inline void append_bytes(std::string& out, const Attributes& a) {
  attributes::append_bytes(out, a.empty());
  a.append_bytes(out);
}
void read_bytes(ByteReader& in, Attributes& a);  // none yet: throws internal
inline void append_text(std::string& out, const Attributes& a) { out += '{' + a.text() + '}'; }

}  // namespace pando
