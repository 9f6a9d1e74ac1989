// What is known of each element-wise instruction beside its name and arity.
#pragma once
#include "base/map_program.hpp"

namespace pando {

// Whether the vector interpreter runs programs of this kind on float32: all but bit operations, within the limits of
// max_map_instrs and max_map_inputs.
bool has_vector_body(const MapProgram& program);

}  // namespace pando
