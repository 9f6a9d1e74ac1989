// The C interface: handles are the C++ objects, exceptions become a status and a text.
#include <algorithm>
#include <cstring>
#include <new>

#include "base/error.hpp"
#include "base/shape.hpp"
#include "pando/pando.h"
#include "pando/pando.hpp"

struct pando_engine {
  pando::Engine engine;
};
struct pando_model {
  pando::Model model;
};
struct pando_options {
  pando::CompileOptions options;
};
struct pando_compiled {
  pando::Compiled compiled;
};
struct pando_cancel_token {
  pando::CancelToken token;
};

namespace {

using namespace pando;

static_assert(static_cast<int>(DType::boolean) == PANDO_BOOL && static_cast<int>(DType::i8) == PANDO_INT8);

// Fixed room: saying that memory has run out must not need any.
thread_local char last_error[1024] = "";

pando_status fail_with(pando_status status, const char* message) noexcept {
  std::strncpy(last_error, message, sizeof last_error - 1);
  return status;
}

pando_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument: return PANDO_INVALID_ARGUMENT;
    case ErrorCode::invalid_model: return PANDO_INVALID_MODEL;
    case ErrorCode::not_supported: return PANDO_NOT_SUPPORTED;
    case ErrorCode::io: return PANDO_IO;
    case ErrorCode::cancelled: return PANDO_CANCELLED;
    case ErrorCode::out_of_memory: return PANDO_OUT_OF_MEMORY;
    default: return PANDO_INTERNAL;
  }
}

// Nothing is thrown across the C interface.
template <class F>
pando_status guarded(F&& body) noexcept {
  try {
    body();
    return PANDO_OK;
  } catch (const Error& e) {
    return fail_with(status_of(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return fail_with(PANDO_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fail_with(PANDO_INTERNAL, e.what());
  } catch (...) {
    return fail_with(PANDO_INTERNAL, "unknown error");
  }
}

void require(const void* pointer, const char* name) {
  if (!pointer) fail(ErrorCode::invalid_argument, "{} is NULL", name);
}

pando_status port_at(const std::vector<Port>& ports, size_t index, pando_port* out) noexcept {
  return guarded([&] {
    require(out, "out");
    if (index >= ports.size())
      fail(ErrorCode::invalid_argument, "there is no port {}: there are {}", index, ports.size());
    const Port& p = ports[index];
    bool open = std::any_of(p.shape.begin(), p.shape.end(), [](int64_t d) { return d < 0; });
    size_t bytes = open ? 0 : static_cast<size_t>(element_count(p.shape)) * size_of(p.dtype);
    *out = {p.name.c_str(), static_cast<pando_dtype>(p.dtype), p.shape.size(), p.shape.data(), bytes};
  });
}

std::vector<int64_t> shape_of(const int64_t* extents, size_t rank) {
  constexpr size_t highest = 64;  // of a tensor in a file
  if (rank > highest) fail(ErrorCode::invalid_argument, "a shape of {} dimensions: expected at most {}", rank, highest);
  if (rank > 0) require(extents, "shape");
  return {extents, extents + rank};
}

template <class T>
std::span<T> pointers(T* list, size_t count, const char* name) {
  if (count > 0) require(list, name);
  return {list, count};
}

}  // namespace

const char* pando_version(void) { return version(); }
const char* pando_last_error(void) { return last_error; }

pando_status pando_engine_create(int threads, pando_engine** out) {
  return guarded([&] {
    require(out, "out");
    EngineOptions options;
    options.threads = threads;
    *out = new pando_engine{Engine(options)};
  });
}
int pando_engine_threads(const pando_engine* engine) { return engine ? engine->engine.threads() : 0; }
void pando_engine_destroy(pando_engine* engine) { delete engine; }

namespace {

pando_status load_model(const char* path, bool read, pando_model** out) {
  return guarded([&] {
    require(path, "path");
    require(out, "out");
    LoadOptions options;
    options.read = read;
    *out = new pando_model{Model::load(path, options)};
  });
}

}  // namespace

pando_status pando_model_load(const char* path, pando_model** out) { return load_model(path, false, out); }
pando_status pando_model_read(const char* path, pando_model** out) { return load_model(path, true, out); }
pando_status pando_model_load_memory(const void* bytes, size_t size, const char* folder, pando_model** out) {
  return guarded([&] {
    require(bytes, "bytes");
    require(out, "out");
    *out = new pando_model{Model::from_memory({static_cast<const std::byte*>(bytes), size}, folder ? folder : "")};
  });
}
size_t pando_model_input_count(const pando_model* m) { return m ? m->model.inputs().size() : 0; }
size_t pando_model_output_count(const pando_model* m) { return m ? m->model.outputs().size() : 0; }
pando_status pando_model_input(const pando_model* m, size_t index, pando_port* out) {
  if (!m) return fail_with(PANDO_INVALID_ARGUMENT, "model is NULL");
  return port_at(m->model.inputs(), index, out);
}
pando_status pando_model_output(const pando_model* m, size_t index, pando_port* out) {
  if (!m) return fail_with(PANDO_INVALID_ARGUMENT, "model is NULL");
  return port_at(m->model.outputs(), index, out);
}
size_t pando_model_default_count(const pando_model* m) { return m ? m->model.defaults().size() : 0; }
pando_status pando_model_default(const pando_model* m, size_t index, pando_port* out) {
  if (!m) return fail_with(PANDO_INVALID_ARGUMENT, "model is NULL");
  return port_at(m->model.defaults(), index, out);
}
pando_status pando_model_save(const pando_model* model, const pando_compiled* compiled, const char* path) {
  return guarded([&] {
    require(model, "model");
    require(compiled, "compiled");
    require(path, "path");
    model->model.save(compiled->compiled, path);
  });
}
const char* pando_model_warning(const pando_model* model) { return model ? model->model.warning().c_str() : ""; }
void pando_model_destroy(pando_model* model) { delete model; }

pando_status pando_options_create(pando_options** out) {
  return guarded([&] {
    require(out, "out");
    *out = new pando_options;
  });
}

namespace {

// A setter: checks the handle, then changes the options.
template <class F>
pando_status set(pando_options* o, F&& change) noexcept {
  return guarded([&] {
    require(o, "options");
    change(o->options);
  });
}

}  // namespace

pando_status pando_options_set_shape(pando_options* o, const char* input, const int64_t* shape, size_t rank) {
  return set(o, [&](CompileOptions& c) {
    require(input, "input");
    c.shapes[input] = shape_of(shape, rank);
  });
}
pando_status pando_options_set_value(pando_options* o, const char* input, pando_dtype dtype, const int64_t* shape,
                                     size_t rank, const void* data) {
  return set(o, [&](CompileOptions& c) {
    require(input, "input");
    require(data, "data");
    if (dtype < PANDO_FLOAT32 || dtype > PANDO_BOOL)
      fail(ErrorCode::invalid_argument, "there is no type {}", static_cast<int>(dtype));
    Array value(static_cast<DType>(dtype), shape_of(shape, rank));
    std::memcpy(value.data(), data, value.bytes());
    c.values[input] = value;
  });
}
pando_status pando_options_set_policy(pando_options* o, const char* policy) {
  return set(o, [&](CompileOptions& c) {
    require(policy, "policy");
    std::string name = policy;
    if (name == "depth-first") c.policy = Policy::depth_first;
    else if (name == "breadth-first") c.policy = Policy::breadth_first;
    else if (name == "barrier") c.policy = Policy::barrier;
    else fail(ErrorCode::invalid_argument, "policy '{}' is not depth-first, breadth-first or barrier", name);
  });
}
pando_status pando_options_set_contexts(pando_options* o, int contexts) {
  return set(o, [&](CompileOptions& c) { c.contexts = contexts; });
}
pando_status pando_options_set_tile_us(pando_options* o, double tile_us) {
  return set(o, [&](CompileOptions& c) { c.tile_us = tile_us; });
}
pando_status pando_options_set_winograd(pando_options* o, int enabled) {
  return set(o, [&](CompileOptions& c) { c.winograd = enabled != 0; });
}
pando_status pando_options_set_precision(pando_options* o, const char* precision) {
  return set(o, [&](CompileOptions& c) {
    require(precision, "precision");
    std::string name = precision;
    if (name == "model") c.precision = Precision::model;
    else if (name == "fp32") c.precision = Precision::fp32;
    else if (name == "bf16") c.precision = Precision::bf16;
    else fail(ErrorCode::invalid_argument, "precision '{}' is not model, fp32 or bf16", name);
  });
}
pando_status pando_options_set_cancel(pando_options* o, const pando_cancel_token* token) {
  return set(o, [&](CompileOptions& c) { c.cancel = token ? &token->token : nullptr; });
}
pando_status pando_options_set_progress(pando_options* o, void (*progress)(void*, const char*, double), void* user) {
  return set(o, [&](CompileOptions& c) {
    if (progress) c.progress = [=](const char* stage, double fraction) { progress(user, stage, fraction); };
    else c.progress = nullptr;
  });
}
void pando_options_destroy(pando_options* options) { delete options; }

pando_status pando_compile(const pando_model* model, const pando_engine* engine, const pando_options* options,
                           pando_compiled** out) {
  return guarded([&] {
    require(model, "model");
    require(engine, "engine");
    require(out, "out");
    *out = new pando_compiled{model->model.compile(engine->engine, options ? options->options : CompileOptions{})};
  });
}
size_t pando_compiled_input_count(const pando_compiled* c) { return c ? c->compiled.inputs().size() : 0; }
size_t pando_compiled_output_count(const pando_compiled* c) { return c ? c->compiled.outputs().size() : 0; }
pando_status pando_compiled_input(const pando_compiled* c, size_t index, pando_port* out) {
  if (!c) return fail_with(PANDO_INVALID_ARGUMENT, "compiled is NULL");
  return port_at(c->compiled.inputs(), index, out);
}
pando_status pando_compiled_output(const pando_compiled* c, size_t index, pando_port* out) {
  if (!c) return fail_with(PANDO_INVALID_ARGUMENT, "compiled is NULL");
  return port_at(c->compiled.outputs(), index, out);
}
void pando_compiled_destroy(pando_compiled* compiled) { delete compiled; }

pando_status pando_run(pando_compiled* c, const void* const* inputs, void* const* outputs,
                       const pando_cancel_token* token) {
  return guarded([&] {
    require(c, "compiled");
    RunOptions options;
    options.cancel = token ? &token->token : nullptr;
    c->compiled.run(pointers(inputs, c->compiled.inputs().size(), "inputs"),
                    pointers(outputs, c->compiled.outputs().size(), "outputs"), options);
  });
}
pando_status pando_submit(pando_compiled* c, const void* const* inputs, void* const* outputs,
                          void (*done)(void*, pando_status, const char*), void* user, const pando_cancel_token* token) {
  return guarded([&] {
    require(c, "compiled");
    require(reinterpret_cast<const void*>(done), "done");
    auto finish = [done, user](const Error* error) {
      done(user, error ? status_of(error->code()) : PANDO_OK, error ? error->what() : "");
    };
    c->compiled.submit(pointers(inputs, c->compiled.inputs().size(), "inputs"),
                       pointers(outputs, c->compiled.outputs().size(), "outputs"), finish,
                       token ? &token->token : nullptr);
  });
}

pando_status pando_cancel_token_create(pando_cancel_token** out) {
  return guarded([&] {
    require(out, "out");
    *out = new pando_cancel_token;
  });
}
void pando_cancel_token_cancel(pando_cancel_token* token) {
  if (token) token->token.cancel();
}
void pando_cancel_token_reset(pando_cancel_token* token) {
  if (token) token->token.reset();
}
void pando_cancel_token_destroy(pando_cancel_token* token) { delete token; }
