#include <array>
#include <cstring>

#include "graph/ops/ops.hpp"

namespace pando {

std::span<const OpDef* const> all_ops() {
  static constexpr std::array ops{
      &conv_op,      &matmul_op,          &attention_op,  &map_op,
      &reduce_op,    &softmax_op,         &norm_op,       &pool_op,
      &lrn_op,       &transpose_op,       &reshape_op,    &slice_op,
      &concat_op,    &expand_op,          &pad_op,        &gather_op,
      &gather_nd_op, &gather_elements_op, &scatter_nd_op, &scatter_elements_op,
      &resize_op,    &arg_reduce_op,      &cumsum_op,     &topk_op,
      &recurrent_op,
  };
  return ops;
}

const OpDef* find_op(const char* name) {
  for (const OpDef* op : all_ops())
    if (std::strcmp(op->name, name) == 0) return op;
  return nullptr;
}

void read_bytes(ByteReader& in, const OpDef*& op) {
  std::string name;
  attributes::read_bytes(in, name);
  op = find_op(name.c_str());
  if (!op && !name.empty()) fail(ErrorCode::invalid_model, "there is no operator '{}'", name);
}

}  // namespace pando
