#include "import/onnx_reader.hpp"

#include <cstring>
#include <protozero/pbf_reader.hpp>

#include "import/file_kind.hpp"

namespace pando::onnx {
namespace {

// A protobuf message with the checks that protozero only makes in debug builds: a field of another wire type than its
// number promises is an error, never misread bytes.
class Message {
 public:
  explicit Message(std::string_view bytes) : reader_(bytes.data(), bytes.size()) {}
  bool next() { return reader_.next(); }
  uint32_t tag() const { return reader_.tag(); }
  void skip() { reader_.skip(); }
  bool is(protozero::pbf_wire_type type) const { return reader_.wire_type() == type; }
  uint64_t varint() {
    expect(protozero::pbf_wire_type::varint);
    return reader_.get_uint64();
  }
  float fixed32() {
    expect(protozero::pbf_wire_type::fixed32);
    return reader_.get_float();
  }
  std::string_view bytes() {
    expect(protozero::pbf_wire_type::length_delimited);
    protozero::data_view view = reader_.get_view();
    return {view.data(), view.size()};
  }
  // The encoded payload of one item or packed chunk of a repeated number.
  std::string_view chunk() {
    if (is(protozero::pbf_wire_type::length_delimited)) return bytes();
    const char* begin = reader_.data().data();
    reader_.skip();
    return {begin, static_cast<size_t>(reader_.data().data() - begin)};
  }
  void numbers(NumberField& field) {
    bool packed = is(protozero::pbf_wire_type::length_delimited);
    std::string_view c = chunk();
    field.packed = packed && field.chunks.empty() ? c : std::string_view();
    field.chunks.push_back(c);
  }

 private:
  void expect(protozero::pbf_wire_type type) const {
    if (!is(type))
      fail(ErrorCode::invalid_model, "the model file is damaged: field {} has wire type {}, expected {}", tag(),
           static_cast<int>(reader_.wire_type()), static_cast<int>(type));
  }
  protozero::pbf_reader reader_;
};

// Runs `read`, turning protozero's exceptions into ours.
template <class F>
auto guarded(const char* what, F&& read) {
  try {
    return read();
  } catch (const protozero::exception& e) {
    fail(ErrorCode::invalid_model, "the model file is damaged or truncated: {} in {}", e.what(), what);
  }
}

void read_varints_into(std::string_view chunk, std::vector<int64_t>& out) {
  const char* p = chunk.data();
  const char* end = p + chunk.size();
  while (p != end) out.push_back(static_cast<int64_t>(protozero::decode_varint(&p, end)));
}

class ModelReader {
 public:
  explicit ModelReader(const ImportLimits& limits) : limits_(limits) {}

  ModelProto model(std::string_view bytes) {
    ModelProto m;
    bool has_ir = false, has_opset = false, has_graph = false;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1:
          m.ir_version = static_cast<int64_t>(r.varint());
          has_ir = true;
          break;
        case 2: m.producer = r.bytes(); break;
        case 7:
          m.graph = graph(r.bytes());
          has_graph = true;
          break;
        case 8:
          has_opset = true;
          opset(r.bytes(), m.opset);
          break;
        case 25: m.functions.push_back(function(r.bytes())); break;
        default: r.skip();
      }
    if (!has_ir || !has_opset || !has_graph)
      fail(ErrorCode::invalid_model, "not an ONNX model: {} is missing",
           !has_ir      ? "ir_version"
           : !has_opset ? "opset_import"
                        : "graph");
    return m;
  }

  GraphProto graph(std::string_view bytes) const {
    GraphProto g;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: add_node(r.bytes(), g.nodes); break;
        case 2: g.name = name(r.bytes()); break;
        case 5: g.initializers.push_back(tensor(r.bytes())); break;
        case 11: g.inputs.push_back(value_info(r.bytes())); break;
        case 12: g.outputs.push_back(value_info(r.bytes())); break;
        case 15:
          g.sparse_initializers = true;
          r.skip();
          break;
        default: r.skip();
      }
    return g;
  }

  TensorProto tensor(std::string_view bytes) const {
    TensorProto t;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1:
          read_varints_into(r.chunk(), t.dims);
          if (t.dims.size() > 64) fail(ErrorCode::invalid_model, "a tensor has more than 64 dimensions");
          break;
        case 2: t.type = static_cast<int32_t>(r.varint()); break;
        case 4: r.numbers(t.floats); break;
        case 5: r.numbers(t.int32s); break;
        case 7: r.numbers(t.int64s); break;
        case 8: t.name = name(r.bytes()); break;
        case 9: t.raw = r.bytes(); break;
        case 10: r.numbers(t.doubles); break;
        case 11: r.numbers(t.uint64s); break;
        case 13: t.external_data.push_back(entry(r.bytes())); break;
        case 14: t.external = r.varint() == 1; break;
        default: r.skip();
      }
    return t;
  }

 private:
  std::string_view name(std::string_view s) const {
    if (s.size() > limits_.name_bytes)
      fail(ErrorCode::invalid_model, "a name of {} bytes is longer than {}", s.size(), limits_.name_bytes);
    return s;
  }

  FunctionProto function(std::string_view bytes) const {
    FunctionProto f;
    f.bytes = static_cast<int64_t>(bytes.size());
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: f.name = name(r.bytes()); break;
        case 4: f.inputs.push_back(name(r.bytes())); break;
        case 5: f.outputs.push_back(name(r.bytes())); break;
        case 7: add_node(r.bytes(), f.nodes); break;
        case 9: opset(r.bytes(), f.opset); break;
        case 10: f.domain = name(r.bytes()); break;
        case 11: f.defaults.push_back(attribute(r.bytes())); break;
        case 13: f.overload = name(r.bytes()); break;
        default: r.skip();
      }
    return f;
  }

  void add_node(std::string_view bytes, std::vector<NodeProto>& nodes) const {
    if (nodes.size() >= limits_.nodes) fail(ErrorCode::invalid_model, "more than {} nodes", limits_.nodes);
    nodes.push_back(node(bytes));
  }

  // Keeps the version of the default domain.
  static void opset(std::string_view bytes, int64_t& of_default_domain) {
    std::string_view domain;
    int64_t version = 0;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: domain = r.bytes(); break;
        case 2: version = static_cast<int64_t>(r.varint()); break;
        default: r.skip();
      }
    if (is_default_domain(domain)) of_default_domain = version;
  }

  static std::pair<std::string_view, std::string_view> entry(std::string_view bytes) {
    std::pair<std::string_view, std::string_view> e;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: e.first = r.bytes(); break;
        case 2: e.second = r.bytes(); break;
        default: r.skip();
      }
    return e;
  }

  NodeProto node(std::string_view bytes) const {
    NodeProto n;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: n.inputs.push_back(name(r.bytes())); break;
        case 2: n.outputs.push_back(name(r.bytes())); break;
        case 3: n.name = name(r.bytes()); break;
        case 4: n.op_type = name(r.bytes()); break;
        case 5: n.attributes.push_back(attribute(r.bytes())); break;
        case 7: n.domain = name(r.bytes()); break;
        case 8: n.overload = name(r.bytes()); break;
        default: r.skip();
      }
    return n;
  }

  AttributeProto attribute(std::string_view bytes) const {
    AttributeProto a;
    int32_t seen = AttributeProto::undefined;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: a.name = name(r.bytes()); break;
        case 2:
          a.float_value = r.fixed32();
          seen = AttributeProto::f;
          break;
        case 3:
          a.int_value = static_cast<int64_t>(r.varint());
          seen = AttributeProto::i;
          break;
        case 4:
          a.string_value = r.bytes();
          seen = AttributeProto::s;
          break;
        case 5:
          a.tensor = r.bytes();
          seen = AttributeProto::t;
          break;
        case 6:
          a.graph = r.bytes();
          seen = AttributeProto::g;
          break;
        case 7: {
          std::string_view c = r.chunk();
          size_t old = a.floats.size();
          if (c.size() % 4) fail(ErrorCode::invalid_model, "attribute '{}': damaged list of floats", a.name);
          a.floats.resize(old + c.size() / 4);
          if (!c.empty()) std::memcpy(a.floats.data() + old, c.data(), c.size());
          seen = AttributeProto::floats_type;
          break;
        }
        case 8:
          read_varints_into(r.chunk(), a.ints);
          seen = AttributeProto::ints_type;
          break;
        case 9:
          a.strings.push_back(r.bytes());
          seen = AttributeProto::strings_type;
          break;
        case 20: a.type = static_cast<int32_t>(r.varint()); break;
        case 21: a.reference = name(r.bytes()); break;
        default: r.skip();
      }
    if (a.type == AttributeProto::undefined) a.type = seen;
    return a;
  }

  ValueInfo value_info(std::string_view bytes) const {
    ValueInfo v;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: v.name = name(r.bytes()); break;
        case 2:
          for (Message type(r.bytes()); type.next();)
            if (type.tag() == 1) tensor_type(type.bytes(), v);
            else type.skip();
          break;
        default: r.skip();
      }
    return v;
  }

  void tensor_type(std::string_view bytes, ValueInfo& v) const {
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: v.element_type = static_cast<int32_t>(r.varint()); break;
        case 2:
          v.has_shape = true;
          for (Message shape(r.bytes()); shape.next();)
            if (shape.tag() == 1) dimension(shape.bytes(), v);
            else shape.skip();
          break;
        default: r.skip();
      }
  }

  void dimension(std::string_view bytes, ValueInfo& v) const {
    if (v.shape.size() >= 64) fail(ErrorCode::invalid_model, "'{}' has more than 64 dimensions", v.name);
    int64_t extent = -1;
    std::string_view symbol;
    for (Message r(bytes); r.next();) switch (r.tag()) {
        case 1: extent = static_cast<int64_t>(r.varint()); break;
        case 2: symbol = name(r.bytes()); break;
        default: r.skip();
      }
    if (extent < -1) fail(ErrorCode::invalid_model, "'{}' has a dimension of {}", v.name, extent);
    v.shape.push_back(extent);
    v.symbols.push_back(extent < 0 ? symbol : std::string_view());
  }

  const ImportLimits& limits_;
};

}  // namespace

namespace {

std::optional<DType> dtype_of(int32_t element_type) {
  switch (static_cast<ElementType>(element_type)) {
    case ElementType::f32: return DType::f32;
    case ElementType::u8:
    case ElementType::u4: return DType::u8;
    case ElementType::i8:
    case ElementType::i4: return DType::i8;
    case ElementType::u16: return DType::u16;
    case ElementType::i16: return DType::i16;
    case ElementType::i32: return DType::i32;
    case ElementType::i64: return DType::i64;
    case ElementType::boolean: return DType::boolean;
    case ElementType::f16: return DType::f16;
    case ElementType::f64: return DType::f64;
    case ElementType::u32: return DType::u32;
    case ElementType::u64: return DType::u64;
    case ElementType::bf16: return DType::bf16;
    case ElementType::f8e4m3fn: return DType::f8e4m3fn;
    case ElementType::f8e4m3fnuz: return DType::f8e4m3fnuz;
    case ElementType::f8e5m2: return DType::f8e5m2;
    case ElementType::f8e5m2fnuz: return DType::f8e5m2fnuz;
    default: return {};
  }
}

}  // namespace

bool is_supported(int32_t element_type) { return dtype_of(element_type).has_value(); }

DType to_dtype(int32_t element_type, std::string_view what) {
  if (std::optional<DType> known = dtype_of(element_type)) return *known;
  switch (static_cast<ElementType>(element_type)) {
    case ElementType::undefined: fail(ErrorCode::not_supported, "'{}' is not a tensor: not supported", what);
    case ElementType::string: fail(ErrorCode::not_supported, "'{}' holds strings: not supported", what);
    default: fail(ErrorCode::not_supported, "'{}' has ONNX element type {}: not supported", what, element_type);
  }
}

ModelProto read_model(std::span<const std::byte> bytes, const ImportLimits& limits) {
  try {
    return guarded("the model", [&] {
      return ModelReader(limits).model({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    });
  } catch (const Error& e) {
    // What the wire format says of a file that is something else helps nobody.
    if (std::string kind = kind_of_file(bytes); !kind.empty())
      fail(ErrorCode::invalid_model, "not an ONNX model: it is {}", kind);
    if (std::string cut = where_cut_off(bytes); !cut.empty())
      fail(ErrorCode::invalid_model, "not a whole ONNX model: {}", cut);
    throw;
  }
}

GraphProto read_graph(std::string_view message, const ImportLimits& limits) {
  return guarded("a graph", [&] { return ModelReader(limits).graph(message); });
}

TensorProto read_tensor(std::string_view message) {
  return guarded("a tensor", [&] { return ModelReader(ImportLimits{}).tensor(message); });
}

std::vector<uint64_t> read_varints(const NumberField& field, size_t at_most) {
  return guarded("a tensor's numbers", [&] {
    std::vector<uint64_t> out;
    for (std::string_view chunk : field.chunks) {
      const char* p = chunk.data();
      const char* end = p + chunk.size();
      while (p != end) {
        if (out.size() == at_most) fail(ErrorCode::invalid_model, "a tensor has more than {} numbers", at_most);
        out.push_back(protozero::decode_varint(&p, end));
      }
    }
    return out;
  });
}

template <class T>
std::vector<T> read_fixed(const NumberField& field, size_t at_most) {
  std::vector<T> out;
  for (std::string_view chunk : field.chunks) {
    size_t n = chunk.size() / sizeof(T), old = out.size();
    if (chunk.size() % sizeof(T) || n > at_most - old)
      fail(ErrorCode::invalid_model, "a tensor's list of numbers has another length than its shape");
    out.resize(old + n);
    if (n) std::memcpy(out.data() + old, chunk.data(), chunk.size());
  }
  return out;
}
template std::vector<float> read_fixed(const NumberField&, size_t);
template std::vector<double> read_fixed(const NumberField&, size_t);

}  // namespace pando::onnx
