// Runs a model on inputs of ones and prints the beginning of every output: example_cpp MODEL.onnx
#include <algorithm>
#include <cstdio>
#include <pando/pando.hpp>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: example_cpp MODEL.onnx\n");
    return 2;
  }
  try {
    pando::Engine engine;
    pando::Model model = pando::Model::load(argv[1]);
    pando::Compiled net = model.compile(engine);

    std::map<std::string, pando::Array> inputs;
    for (const pando::Port& port : net.inputs()) {
      pando::Array array(port.dtype, port.shape);
      if (port.dtype == pando::DType::f32) std::ranges::fill(array.as<float>(), 1.0f);
      inputs[port.name] = array;
    }
    std::vector<pando::Array> outputs = net.run(inputs);

    for (size_t i = 0; i < outputs.size(); i++) {
      std::printf("%s:", net.outputs()[i].name.c_str());
      if (outputs[i].dtype() == pando::DType::f32)
        for (size_t j = 0; j < std::min<size_t>(4, outputs[i].count()); j++)
          std::printf(" %g", outputs[i].as<float>()[j]);
      std::printf("\n");
    }
    return 0;
  } catch (const pando::Error& e) {
    std::fprintf(stderr, "example_cpp: %s\n", e.what());
    return 1;
  }
}
