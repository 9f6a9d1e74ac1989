#include "import/external_files.hpp"

#include <filesystem>
#include <mutex>

#include "base/error.hpp"

namespace pando {

namespace fs = std::filesystem;

ExternalFiles::ExternalFiles(const std::string& folder, FileMode mode) : folder_(folder), mode_(mode) {
  std::error_code none;  // in a folder that was removed: then what is named relative to it still leads somewhere
  if (const fs::path absolute = fs::absolute(folder, none); !folder.empty() && !none) folder_ = absolute.string();
}

std::shared_ptr<const MappedFile> ExternalFiles::open(const std::string& location, const CompileContext* context) {
  if (folder_.empty())
    fail(ErrorCode::invalid_model, "the model wants external data '{}', but has no folder", location);
  const fs::path relative(location);
  bool inside = !relative.empty() && !relative.is_absolute() && location.find('\0') == std::string::npos;
  for (const fs::path& part : relative) inside = inside && part != "..";
  if (!inside) fail(ErrorCode::invalid_model, "external data '{}' is outside of the model's folder", location);
  const std::string path = (fs::path(folder_) / relative).lexically_normal().string();
  {
    std::lock_guard lock(mutex_);
    if (const auto known = files_.find(path); known != files_.end()) return known->second;
  }
  // Outside of the lock, since it may read all of the file. Of two threads that do so the first one's is kept.
  std::shared_ptr<const MappedFile> file;
  try {
    file = std::make_shared<const MappedFile>(path, mode_, context);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled) throw;
    fail(e.code(), "external data '{}': {}", location, e.what());
  }
  std::lock_guard lock(mutex_);
  return files_.try_emplace(path, file).first->second;
}

std::vector<std::shared_ptr<const MappedFile>> ExternalFiles::opened() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const MappedFile>> list;
  for (const auto& [path, file] : files_) list.push_back(file);
  return list;
}

}  // namespace pando
