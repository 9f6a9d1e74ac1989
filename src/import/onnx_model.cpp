#include <algorithm>
#include <filesystem>
#include <unordered_set>
#include <utility>

#include "import/importer.hpp"
#include "import/node_order.hpp"
#include "import/tensor_data.hpp"

namespace pando {
namespace onnx {
namespace {

// What the file says of a shape must be countable, the unknown dimensions left out.
ModelPort to_port(const ValueInfo& info, const ImportLimits& limits) {
  Shape known = info.shape;
  std::erase(known, -1);
  checked_count(known, limits.tensor_elements, "value", info.name);
  return {std::string(info.name), to_dtype(info.element_type, info.name), info.shape};
}

ModelPorts ports_of(const ModelProto& model, const ImportLimits& limits) {
  const GraphProto& graph = model.graph;
  std::unordered_set<std::string_view> initializers;
  for (const TensorProto& t : graph.initializers) initializers.insert(t.name);
  ModelPorts ports;
  for (const ValueInfo& info : graph.inputs) {
    if (!initializers.count(info.name)) ports.inputs.push_back(to_port(info, limits));
    else if (model.ir_version >= first_ir_of_defaults && is_supported(info.element_type))
      ports.defaults.push_back(to_port(info, limits));
  }
  for (const ValueInfo& info : graph.outputs) ports.outputs.push_back(to_port(info, limits));
  ports.name = std::string(graph.name);
  ports.producer = std::string(model.producer);
  ports.opset = model.opset;
  return ports;
}

std::vector<std::string> values_of(const ModelProto& model) {
  const std::span<const NodeProto> nodes = model.graph.nodes;
  const Body body = make_body(nodes);
  std::vector<uint32_t> order(nodes.size());
  for (uint32_t i = 0; i < nodes.size(); i++) order[body.rank[i]] = i;
  std::unordered_set<std::string_view> needed;
  for (const ValueInfo& info : model.graph.outputs) needed.insert(info.name);
  std::vector<std::string> values;
  for (size_t place = order.size(); place-- > 0;) {
    const NodeProto& node = nodes[order[place]];
    bool live = false;
    for (size_t i = node.outputs.size(); i-- > 0;)
      if (!node.outputs[i].empty() && needed.count(node.outputs[i])) {
        values.emplace_back(node.outputs[i]);
        live = true;
      }
    if (live) needed.insert(node.inputs.begin(), node.inputs.end());
  }
  std::reverse(values.begin(), values.end());
  return values;
}

}  // namespace
}  // namespace onnx

namespace {

// Runs `body`; its errors name the file.
template <class F>
auto naming(const MappedFile* file, F&& body) {
  auto prefixed = [&](const Error& e) {
    const std::string message = e.what();
    return message.find(file->path()) == std::string::npos ? fmt::format("{}: {}", file->path(), message) : message;
  };
  try {
    return body();
  } catch (const NeedsInputValue& e) {
    if (!file) throw;
    throw NeedsInputValue(e.input, prefixed(e));
  } catch (const Error& e) {
    if (!file) throw;
    throw Error(e.code(), prefixed(e));
  }
}

}  // namespace

OnnxModel::OnnxModel(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, const ImportLimits& limits,
                     const std::string& folder, FileMode external_data, const CompileContext* context)
    : external_(std::make_shared<ExternalFiles>(folder, external_data)),
      proto_(std::make_shared<const onnx::ModelProto>(onnx::read_model(bytes, limits))),
      owner_(std::move(owner)),
      limits_(limits),
      bytes_(static_cast<int64_t>(bytes.size())) {
  open_external_data(context);
}

OnnxModel OnnxModel::open(const std::string& path, FileMode mode, const CompileContext* context) {
  return open(std::make_shared<const MappedFile>(path, mode, context), context);
}

OnnxModel OnnxModel::open(std::shared_ptr<const MappedFile> file, const CompileContext* context) {
  const FileMode mode = file->mode();
  // The folder that the path names, wherever a link may lead: that is where the model's files lie by their names.
  const std::filesystem::path folder = std::filesystem::path(file->path()).parent_path();
  OnnxModel model = naming(file.get(), [&] {
    return OnnxModel(file->bytes(), file, {}, folder.empty() ? std::string(".") : folder.string(), mode, context);
  });
  model.file_ = std::move(file);
  return model;
}

// Now, so that what is compiled later is what lies beside the model now. A file that cannot be opened is an error only
// when a graph needs it.
void OnnxModel::open_external_data(const CompileContext* context) {
  std::string last;
  for (const onnx::TensorProto& t : proto_->graph.initializers) {
    if (!t.external) continue;
    std::string location = onnx::location_of(t);
    if (location == std::exchange(last, location)) continue;
    try {
      external_->open(location, context);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) throw;
    }
  }
}

std::vector<std::shared_ptr<const MappedFile>> OnnxModel::files() const {
  std::vector<std::shared_ptr<const MappedFile>> list = external_->opened();
  if (file_) list.push_back(file_);
  return list;
}

int64_t OnnxModel::bytes() const {
  int64_t sum = bytes_;
  for (const auto& file : external_->opened()) sum += file->stored_bytes();
  return sum;
}

void OnnxModel::check_unchanged() const {
  naming(file_.get(), [&] {
    for (const auto& file : files()) file->check_unchanged();
  });
}

ModelPorts OnnxModel::ports() const {
  return naming(file_.get(), [&] { return onnx::ports_of(*proto_, limits_); });
}

std::vector<std::string> OnnxModel::values() const {
  return naming(file_.get(), [&] { return onnx::values_of(*proto_); });
}

Graph OnnxModel::graph(const ImportOptions& options) const {
  check_unchanged();
  return naming(file_.get(),
                [&] { return onnx::import_graph(*proto_, owner_, options, limits_, *external_, bytes()); });
}

}  // namespace pando
