// External data of one model: files under the folder that the model was asked for in, each opened once.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.hpp"
#include "base/process.hpp"

namespace pando {

// Which files a model may read: its `location` must be a relative path without "..", so no text in a file leads out of
// the folder. Links count as the folder's own content: the user who laid them there chose what they lead to (the caches
// of model hubs keep every file as a link into one store), and only regular files are read. Thread-safe.
class ExternalFiles {
 public:
  // Without a folder, external data is refused.
  explicit ExternalFiles(const std::string& folder, FileMode mode = FileMode::map);
  // Throws invalid_model when `location` leads out of the folder, io when the file cannot be read, cancelled.
  std::shared_ptr<const MappedFile> open(const std::string& location, const CompileContext* context = nullptr);
  std::vector<std::shared_ptr<const MappedFile>> opened() const;

 private:
  std::string folder_;  // absolute: the working directory may change
  FileMode mode_;
  mutable ForkAwareMutex mutex_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;  // by path
};

}  // namespace pando
