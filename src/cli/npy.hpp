// NumPy files: format 1.0 to 3.0 read, 1.0 written; files of one ONNX tensor are read.
#pragma once
#include <optional>
#include <string>

#include "pando/pando.hpp"

namespace pando::cli {

// The array in file `path`, in C order and this machine's byte order whatever the file's. Where `expected` is bfloat16,
// which NumPy lacks, a float32 file is rounded to it. Throws Error io with path and cause.
Array read_npy(const std::string& path, std::optional<DType> expected = {});
// The same, where the name ends with .pb of an ONNX tensor. There, too, the type may be a stand-in for bfloat16:
// uint16.
Array read_array(const std::string& path, std::optional<DType> expected = {});
// The bytes of a file of format 1.0, C order; bfloat16 widened to float32.
std::string npy_bytes(const Array& array);

}  // namespace pando::cli
