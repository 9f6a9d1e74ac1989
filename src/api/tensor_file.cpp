#include "api/impl.hpp"
#include "import/tensor_data.hpp"

namespace pando {

Array load_tensor(const std::string& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  try {
    const std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
    ExternalFiles none("");
    const TensorPtr tensor = onnx::decode_tensor(onnx::read_tensor(bytes), file, none, {}, false);
    Array array(tensor->dtype, tensor->shape);
    if (array.bytes() > 0) std::memcpy(array.data(), tensor->data, array.bytes());
    return array;
  } catch (const Error& e) {
    throw Error(e.code(), fmt::format("{}: {}", path, e.what()));
  }
}

}  // namespace pando
