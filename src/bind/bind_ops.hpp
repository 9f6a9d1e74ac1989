// The bind functions, one per core operator (registry.cpp maps operators to them).
#pragma once
#include "bind/binder.hpp"

namespace pando {

void bind_conv(Binder&);  // dispatches on the algorithm:
void bind_conv_gemm(Binder&);
void bind_conv_winograd(Binder&);
void bind_conv_depthwise(Binder&);
void bind_matmul(Binder&);
void bind_attention(Binder&);
void bind_lstm(Binder&);
void bind_map(Binder&);
void bind_reduce(Binder&);
void bind_softmax(Binder&);
void bind_norm(Binder&);
void bind_pool(Binder&);
void bind_lrn(Binder&);
void bind_resize(Binder&);
void bind_gather(Binder&);
void bind_copy(Binder&);  // transpose, and reshape, slice, concat, expand, pad where they are copies

// The bind function of an operator; bind_reference when it has none of its own.
BindFn find_bind(const OpDef& op);

}  // namespace pando
