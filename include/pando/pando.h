/* Pando's C interface: the same objects as in pando.hpp behind opaque handles.
 *
 * Functions that can fail return a status; pando_last_error() then says what was wrong, for the calling thread. A
 * handle is given back with its own destroy function, which takes NULL. Objects that others need stay alive until the
 * last one is destroyed, in any order. All functions may be called from several threads, also on the same engine,
 * model, compiled model or cancel token; options belong to one thread at a time.
 *
 * exit() may be called while runs are in flight, which then never end. The child of a fork() may use everything; runs
 * that were in flight in the parent do not exist in it. */
#ifndef PANDO_PANDO_H
#define PANDO_PANDO_H

#include <stddef.h>
#include <stdint.h>

#ifndef PANDO_API
#define PANDO_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pando_status {
  PANDO_OK = 0,
  PANDO_INVALID_ARGUMENT = 1, /* wrong name, type, shape, option, or a null pointer */
  PANDO_INVALID_MODEL = 2,    /* the file is malformed or contradicts itself */
  PANDO_NOT_SUPPORTED = 3,    /* legal, but outside what this build implements */
  PANDO_IO = 4,
  PANDO_CANCELLED = 5,
  PANDO_OUT_OF_MEMORY = 6,
  PANDO_INTERNAL = 7
} pando_status;

typedef enum pando_dtype {
  PANDO_FLOAT32 = 0,
  PANDO_FLOAT64 = 1,
  PANDO_FLOAT16 = 2,
  PANDO_BFLOAT16 = 3,
  PANDO_INT8 = 4,
  PANDO_UINT8 = 5,
  PANDO_INT16 = 6,
  PANDO_UINT16 = 7,
  PANDO_INT32 = 8,
  PANDO_UINT32 = 9,
  PANDO_INT64 = 10,
  PANDO_UINT64 = 11,
  PANDO_BOOL = 12, /* one byte, 0 or 1 */
  PANDO_FLOAT8E4M3FN = 13,
  PANDO_FLOAT8E4M3FNUZ = 14,
  PANDO_FLOAT8E5M2 = 15,
  PANDO_FLOAT8E5M2FNUZ = 16
} pando_dtype;

typedef struct pando_engine pando_engine;
typedef struct pando_model pando_model;
typedef struct pando_options pando_options;
typedef struct pando_compiled pando_compiled;
typedef struct pando_cancel_token pando_cancel_token;

/* An input or output. The pointers live as long as the model or compiled model that was asked. */
typedef struct pando_port {
  const char* name;
  pando_dtype dtype;
  size_t rank;
  const int64_t* shape; /* -1: left open by the file */
  size_t bytes;         /* of a dense array; 0 while a dimension is open */
} pando_port;

PANDO_API const char* pando_version(void);
/* One line about this thread's last call that failed; never NULL. Valid until the thread's next failure. */
PANDO_API const char* pando_last_error(void);

/* threads: 0 for one per CPU that this process may use. */
PANDO_API pando_status pando_engine_create(int threads, pando_engine** out);
PANDO_API int pando_engine_threads(const pando_engine* engine);
PANDO_API void pando_engine_destroy(pando_engine* engine);

/* Maps the file. While the model, or a compiled model made from it, lives, the file and its external data must not be
 * overwritten or truncated: results would change, and a read beyond a file's new end is a SIGBUS. Replace a file by
 * renaming a new one to its name, or use pando_model_read. pando_compile returns PANDO_IO when a file was changed since
 * it was loaded. External data: relative paths without ".." in the folder of path; links there are followed. */
PANDO_API pando_status pando_model_load(const char* path, pando_model** out);
/* The same, but the file and its external data are read into memory: they may change afterwards. */
PANDO_API pando_status pando_model_read(const char* path, pando_model** out);
/* The bytes are copied. folder: where external data may lie; NULL: none allowed. */
PANDO_API pando_status pando_model_load_memory(const void* bytes, size_t size, const char* folder, pando_model** out);
PANDO_API size_t pando_model_input_count(const pando_model* model);
PANDO_API size_t pando_model_output_count(const pando_model* model);
PANDO_API pando_status pando_model_input(const pando_model* model, size_t index, pando_port* out);
PANDO_API pando_status pando_model_output(const pando_model* model, size_t index, pando_port* out);
/* Inputs that have a default value in the file, not counted above. A compiled model has the default as a constant,
 * unless pando_options_set_shape names the input: then it is one of the compiled model's inputs, in the file's order.
 * pando_options_set_value gives it another constant. */
PANDO_API size_t pando_model_default_count(const pando_model* model);
PANDO_API pando_status pando_model_default(const pando_model* model, size_t index, pando_port* out);
PANDO_API void pando_model_destroy(pando_model* model);
/* Writes a compiled model, made from this model, to a file that pando_model_load takes in place of the model; path is
 * replaced at once, when all is written. The file fits the build of the library and the instruction set that made it.
 * Where it does not fit, or is damaged, loading it takes the model that it was made from, if that still lies where it
 * lay and has the same bytes, and pando_model_warning says so. Checksums are no protection against ill will: load only
 * files of your own. */
PANDO_API pando_status pando_model_save(const pando_model* model, const pando_compiled* compiled, const char* path);
/* One line that users should see, or "". Valid while the model lives. */
PANDO_API const char* pando_model_warning(const pando_model* model);

PANDO_API pando_status pando_options_create(pando_options** out);
PANDO_API pando_status pando_options_set_shape(pando_options* options, const char* input, const int64_t* shape,
                                               size_t rank);
/* Fixes an input's value, which is copied; the compiled model then has no such input. pando_compile compares type and
 * shape with the file's declaration. */
PANDO_API pando_status pando_options_set_value(pando_options* options, const char* input, pando_dtype dtype,
                                               const int64_t* shape, size_t rank, const void* data);
/* "depth-first", "breadth-first" or "barrier" */
PANDO_API pando_status pando_options_set_policy(pando_options* options, const char* policy);
PANDO_API pando_status pando_options_set_contexts(pando_options* options, int contexts); /* runs in flight at once */
PANDO_API pando_status pando_options_set_tile_us(pando_options* options, double tile_us);
PANDO_API pando_status pando_options_set_winograd(pando_options* options, int enabled);
/* "model", "fp32" or "bf16": how products of float32 are computed, see Precision in pando/types.hpp */
PANDO_API pando_status pando_options_set_precision(pando_options* options, const char* precision);
/* The token must live until compiling has ended. */
PANDO_API pando_status pando_options_set_cancel(pando_options* options, const pando_cancel_token* token);
PANDO_API pando_status pando_options_set_progress(pando_options* options,
                                                  void (*progress)(void* user, const char* stage, double fraction),
                                                  void* user);
PANDO_API void pando_options_destroy(pando_options* options);

/* options: NULL for defaults. */
PANDO_API pando_status pando_compile(const pando_model* model, const pando_engine* engine, const pando_options* options,
                                     pando_compiled** out);
PANDO_API size_t pando_compiled_input_count(const pando_compiled* compiled);
PANDO_API size_t pando_compiled_output_count(const pando_compiled* compiled);
PANDO_API pando_status pando_compiled_input(const pando_compiled* compiled, size_t index, pando_port* out);
PANDO_API pando_status pando_compiled_output(const pando_compiled* compiled, size_t index, pando_port* out);
/* Destroy after its runs have ended. */
PANDO_API void pando_compiled_destroy(pando_compiled* compiled);

/* One pointer per input and output, in their order, to dense memory aligned to the element; an output must overlap
 * neither an input nor another output. token: may be NULL. */
PANDO_API pando_status pando_run(pando_compiled* compiled, const void* const* inputs, void* const* outputs,
                                 const pando_cancel_token* token);
/* The same without waiting: done(user, status, message) is called once on a worker thread, never on one that is inside
 * pando_run; the memory and the token must live until then. done must be short and must not wait for runs. Waits while
 * all contexts are in flight. */
PANDO_API pando_status pando_submit(pando_compiled* compiled, const void* const* inputs, void* const* outputs,
                                    void (*done)(void* user, pando_status status, const char* message), void* user,
                                    const pando_cancel_token* token);

PANDO_API pando_status pando_cancel_token_create(pando_cancel_token** out);
PANDO_API void pando_cancel_token_cancel(pando_cancel_token* token);
PANDO_API void pando_cancel_token_reset(pando_cancel_token* token);
PANDO_API void pando_cancel_token_destroy(pando_cancel_token* token);

#ifdef __cplusplus
}
#endif
#endif
