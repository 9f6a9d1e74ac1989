#include "import/external_files.hpp"

#include <filesystem>

#include "base/error.hpp"

namespace pando {

namespace fs = std::filesystem;

ExternalFiles::ExternalFiles(const std::string& folder, FileMode mode)
    : folder_(folder.empty() ? folder : fs::absolute(folder).string()), mode_(mode) {}

std::shared_ptr<const MappedFile> ExternalFiles::open(const std::string& location) {
  if (folder_.empty())
    fail(ErrorCode::invalid_model, "the model wants external data '{}', but has no folder", location);
  const fs::path relative(location);
  bool inside = !relative.empty() && !relative.is_absolute() && location.find('\0') == std::string::npos;
  for (const fs::path& part : relative) inside = inside && part != "..";
  if (!inside) fail(ErrorCode::invalid_model, "external data '{}' is outside of the model's folder", location);
  const std::string path = (fs::path(folder_) / relative).lexically_normal().string();
  std::lock_guard lock(mutex_);
  std::shared_ptr<const MappedFile>& file = files_[path];
  try {
    if (!file) file = std::make_shared<const MappedFile>(path, mode_);
  } catch (const Error& e) {
    fail(e.code(), "external data '{}': {}", location, e.what());
  }
  return file;
}

std::vector<std::shared_ptr<const MappedFile>> ExternalFiles::opened() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const MappedFile>> list;
  for (const auto& [path, file] : files_)
    if (file) list.push_back(file);
  return list;
}

}  // namespace pando
