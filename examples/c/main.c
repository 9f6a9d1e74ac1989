/* Runs a model on inputs of ones and prints the beginning of every output: example_c MODEL.onnx */
#include <pando/pando.h>
#include <stdio.h>
#include <stdlib.h>

static void check(pando_status status) {
  if (status == PANDO_OK) return;
  fprintf(stderr, "example_c: %s\n", pando_last_error());
  exit(1);
}

static void* memory_for(const pando_port* port) {
  void* data = calloc(1, port->bytes + 1);
  if (!data) exit(1);
  if (port->dtype == PANDO_FLOAT32)
    for (size_t i = 0; i < port->bytes / sizeof(float); i++) ((float*)data)[i] = 1;
  return data;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: example_c MODEL.onnx\n");
    return 2;
  }
  pando_engine* engine;
  pando_model* model;
  pando_compiled* net;
  check(pando_engine_create(0, &engine));
  check(pando_model_load(argv[1], &model));
  check(pando_compile(model, engine, NULL, &net));

  size_t input_count = pando_compiled_input_count(net), output_count = pando_compiled_output_count(net);
  void** inputs = calloc(input_count + 1, sizeof(void*));
  void** outputs = calloc(output_count + 1, sizeof(void*));
  if (!inputs || !outputs) return 1;
  pando_port port;
  for (size_t i = 0; i < input_count; i++) {
    check(pando_compiled_input(net, i, &port));
    inputs[i] = memory_for(&port);
  }
  for (size_t i = 0; i < output_count; i++) {
    check(pando_compiled_output(net, i, &port));
    outputs[i] = memory_for(&port);
  }
  check(pando_run(net, (const void* const*)inputs, outputs, NULL));

  for (size_t i = 0; i < output_count; i++) {
    check(pando_compiled_output(net, i, &port));
    printf("%s:", port.name);
    if (port.dtype == PANDO_FLOAT32)
      for (size_t j = 0; j < 4 && j < port.bytes / sizeof(float); j++) printf(" %g", ((float*)outputs[i])[j]);
    printf("\n");
    free(outputs[i]);
  }
  for (size_t i = 0; i < input_count; i++) free(inputs[i]);
  free(inputs);
  free(outputs);
  pando_compiled_destroy(net);
  pando_model_destroy(model);
  pando_engine_destroy(engine);
  return 0;
}
