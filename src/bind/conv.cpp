// conv: one bind function per algorithm.
#include "bind/bind_ops.hpp"

namespace pando {

void bind_conv(Binder& b) {
  switch (b.op.algorithm) {
    case Algorithm::gemm: return bind_conv_gemm(b);
    case Algorithm::winograd: return bind_conv_winograd(b);
    case Algorithm::depthwise: return bind_conv_depthwise(b);
    default: return bind_reference(b);
  }
}

}  // namespace pando
