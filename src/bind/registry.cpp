#include "bind/bind_ops.hpp"

namespace pando {

BindFn find_bind(const OpDef& op) {
  static constexpr struct {
    const OpDef* op;
    BindFn bind;
  } table[] = {
      {&conv_op, bind_conv},     {&matmul_op, bind_matmul}, {&attention_op, bind_attention},
      {&map_op, bind_map},       {&reduce_op, bind_reduce}, {&softmax_op, bind_softmax},
      {&norm_op, bind_norm},     {&pool_op, bind_pool},     {&lrn_op, bind_lrn},
      {&resize_op, bind_resize}, {&gather_op, bind_gather}, {&transpose_op, bind_copy},
      {&reshape_op, bind_copy},  {&slice_op, bind_copy},    {&concat_op, bind_copy},
      {&expand_op, bind_copy},   {&pad_op, bind_copy},      {&lstm_op, bind_lstm},
  };
  for (const auto& row : table)
    if (row.op == &op) return row.bind;
  return bind_reference;
}

}  // namespace pando
