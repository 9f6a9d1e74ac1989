// How far Winograd's convolutions are from the direct method's, over whole models: the largest difference of every
// output, relative to its largest value, must stay under 1e-4.   winograd_models MODEL.onnx...
#include <cmath>
#include <cstdio>
#include <map>
#include <random>

#include "pando/pando.hpp"

namespace {

constexpr float largest_difference = 1e-4f;

pando::Array random_array(const std::vector<int64_t>& shape) {
  pando::Array array(pando::DType::f32, shape);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(0, 1);
  for (float& x : array.as<float>()) x = uniform(random);
  return array;
}

bool check(pando::Engine& engine, const char* path) {
  pando::Model model = pando::Model::load(path);
  std::map<std::string, pando::Array> by_name;
  for (const auto& port : model.inputs()) by_name.emplace(port.name, random_array(port.shape));
  const auto run = [&](bool winograd) {
    pando::CompileOptions options;
    options.winograd = winograd;
    return model.compile(engine, options).run(by_name);
  };
  const auto fast = run(true), direct = run(false);
  bool good = true;
  for (size_t i = 0; i < direct.size(); i++) {
    float largest = 0, difference = 0;
    const auto a = fast[i].as<float>(), b = direct[i].as<float>();
    for (size_t j = 0; j < b.size(); j++) {
      largest = std::max(largest, std::abs(b[j]));
      const float d = std::abs(a[j] - b[j]);
      if (!(d <= difference)) difference = d;  // NaN, too
    }
    const float relative = difference / largest;
    std::printf("%s output %zu: %.2g of its largest value\n", path, i, static_cast<double>(relative));
    good = good && relative <= largest_difference;
  }
  return good;
}

}  // namespace

int main(int count, char** paths) {
  pando::Engine engine;
  bool good = count > 1;
  for (int i = 1; i < count; i++) good = check(engine, paths[i]) && good;
  return good ? 0 : 1;
}
