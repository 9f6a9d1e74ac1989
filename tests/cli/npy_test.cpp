// NumPy files: every type, order and format version, and files that are none.
#include "cli/npy.hpp"

#include <bit>

#include "api/models.hpp"
#include "cli/files.hpp"

namespace pando::testing {
namespace {

using cli::npy_bytes;
using cli::read_npy;
using cli::write_file;

std::string file_of(const std::string& bytes) {
  std::string path = temporary("array.npy");
  write_file(path, bytes);
  return path;
}

// A file as NumPy would write it, of any format version.
std::string npy(const std::string& header, const std::string& data, int major = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += {static_cast<char>(major), '\0'};
  for (int i = 0; i < (major == 1 ? 2 : 4); i++) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return bytes + header + data;
}

template <class T>
std::string raw(const std::vector<T>& values, bool swapped = false) {
  std::string out;
  for (T v : values) {
    std::string one(reinterpret_cast<const char*>(&v), sizeof v);
    out += swapped ? std::string(one.rbegin(), one.rend()) : one;
  }
  return out;
}

std::string error_reading(const std::string& bytes) {
  std::string path = file_of(bytes);
  std::string text = error_of([&] { read_npy(path); }, ErrorCode::io);
  EXPECT_TRUE(holds(text, path));
  return text;
}

TEST(Npy, WritesAndReadsEveryType) {
  for (DType t : {DType::f32, DType::f64, DType::f16, DType::i8, DType::u8, DType::i16, DType::u16, DType::i32,
                  DType::u32, DType::i64, DType::u64, DType::boolean})
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{}, {5}, {0, 3}, {2, 3, 4}, {1, 1}}) {
      Array a(t, shape);
      for (size_t i = 0; i < a.bytes(); i++)
        a.as<uint8_t>().data()[i] = static_cast<uint8_t>(t == DType::boolean ? i % 2 : i);
      EXPECT_TRUE(same_bits(read_npy(file_of(npy_bytes(a))), a)) << name_of(t);
    }
}

TEST(Npy, WritesAlignedHeaders) {
  for (int64_t n : {1, 100, 1234567}) {
    std::string bytes = npy_bytes(Array(DType::u8, {n}));
    EXPECT_EQ((bytes.size() - static_cast<size_t>(n)) % 64, 0u);
    EXPECT_TRUE(holds(bytes, "'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(n) + ",), }"));
  }
  EXPECT_TRUE(holds(npy_bytes(Array(DType::f32, {2, 3})), "'shape': (2, 3), }"));
  EXPECT_TRUE(holds(npy_bytes(Array(DType::i64, {})), "'shape': (), }"));
}

TEST(Npy, ReadsEveryFormatVersionAndByteOrder) {
  std::vector<int32_t> values{1, -2, 300000, 4};
  for (int major : {1, 2, 3})
    for (bool big : {false, true}) {
      std::string order = big ? ">" : "<";
      Array a = read_npy(file_of(
          npy("{'descr': '" + order + "i4', 'fortran_order': False, 'shape': (2, 2), }\n", raw(values, big), major)));
      EXPECT_EQ(a.dtype(), DType::i32);
      EXPECT_EQ(a.shape(), (std::vector<int64_t>{2, 2}));
      EXPECT_TRUE(std::equal(values.begin(), values.end(), a.as<int32_t>().begin()));
    }
}

TEST(Npy, ReadsFortranOrder) {
  // Element (i, j, k) of shape (2, 3, 4) is 100 i + 10 j + k; the first index runs fastest in the file.
  std::vector<double> values;
  for (int k = 0; k < 4; k++)
    for (int j = 0; j < 3; j++)
      for (int i = 0; i < 2; i++) values.push_back(100 * i + 10 * j + k);
  Array a =
      read_npy(file_of(npy("{\"descr\": \">f8\", \"fortran_order\": True, \"shape\": (2,3,4)}", raw(values, true))));
  size_t n = 0;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 3; j++)
      for (int k = 0; k < 4; k++) EXPECT_EQ(a.as<double>()[n++], 100 * i + 10 * j + k);
}

TEST(Npy, WidensWhatNumPyLacks) {
  std::vector<float> values{1, -2.5f, 3e38f, 1.00390625f /* half way: to even */, std::nanf("")};
  Array wide(DType::f32, {5});
  std::copy(values.begin(), values.end(), wide.as<float>().begin());
  Array narrow = read_npy(file_of(npy_bytes(wide)), DType::bf16);
  ASSERT_EQ(narrow.dtype(), DType::bf16);
  EXPECT_EQ(narrow.as<uint16_t>()[0], 0x3f80);
  EXPECT_EQ(narrow.as<uint16_t>()[1], 0xc020);
  EXPECT_EQ(narrow.as<uint16_t>()[3], 0x3f80);
  Array back = read_npy(file_of(npy_bytes(narrow)));
  ASSERT_EQ(back.dtype(), DType::f32);
  EXPECT_EQ(back.as<float>()[1], -2.5f);
  EXPECT_TRUE(std::isnan(back.as<float>()[4]));
}

TEST(Npy, TakesAnyByteForTrue) {
  Array a =
      read_npy(file_of(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", std::string("\0\1\7", 3))));
  EXPECT_EQ(a.as<uint8_t>()[2], 1);
}

TEST(Npy, ReadsNoMoreThanTheArray) {
  const Array small = random_array({3}, 1), large = random_array({1 << 20}, 2);
  for (const Array& a : {small, large}) {
    const std::string path = file_of(npy_bytes(a));
    std::filesystem::resize_file(path, uintmax_t{1} << 40);  // all but the array is a hole
    EXPECT_TRUE(same_bits(read_npy(path), a));
    std::filesystem::remove(path);
  }
}

TEST(Npy, RefusesOtherFiles) {
  EXPECT_TRUE(holds(error_reading("hello"), "magic"));
  EXPECT_TRUE(holds(error_reading(npy("{}", "", 9)), "version 9"));
  EXPECT_TRUE(holds(error_reading(npy("{}", "")), "'descr'"));
  EXPECT_TRUE(holds(error_reading(npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "")), "c8"));
  EXPECT_TRUE(
      holds(error_reading(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "")), "structured"));
  EXPECT_TRUE(
      holds(error_reading(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "1234")), "truncated"));
  EXPECT_TRUE(holds(error_reading(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "")), "shape"));
  EXPECT_TRUE(holds(error_reading(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1", "")), "shape"));
  EXPECT_TRUE(
      holds(error_reading(npy("{'descr': '<f4', 'fortran_order': No, 'shape': (1,)}", "1234")), "fortran_order"));
  std::string huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}";
  EXPECT_TRUE(holds(error_reading(npy(huge, "")), "too large"));
  std::string none = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904)}";
  EXPECT_TRUE(holds(error_reading(npy(none, "")), "too large"));
  std::string whole = npy_bytes(Array(DType::f32, {4}));
  for (size_t n = 0; n < whole.size(); n += 7) error_reading(whole.substr(0, n));
  error_of([] { read_npy("/nowhere/x.npy"); }, ErrorCode::io);
  error_of([] { read_npy("/dev/zero"); }, ErrorCode::io);
}

TEST(Files, NamesAreSafeAndUnique) {
  using V = std::vector<std::string>;
  EXPECT_EQ(cli::file_names({"a", "b.c-d_1"}), (V{"a", "b.c-d_1"}));
  EXPECT_EQ(cli::file_names({"../../etc/x", "a b", "a:b", "a\nb"}), (V{".._.._etc_x", "a_b", "a_b-2", "a_b-3"}));
  EXPECT_EQ(cli::file_names({"a-2", "a", "a"}), (V{"a-2", "a", "a-3"}));
}

}  // namespace
}  // namespace pando::testing
