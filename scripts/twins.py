#!/usr/bin/python3
"""Makes twins of an ONNX model: the same network quantized, or in another floating-point type, for tests and benches.

    scripts/twins.py MODEL --kind KIND -o TWIN.onnx      MODEL: a file, or zoo:NAME for `pando zoo NAME`

  qdq       QuantizeLinear and DequantizeLinear around convolutions, products and what lies between them: activations
            u8, weights s8 per channel, biases int32; batch normalization is folded before. Ranges are the least and
            largest values in --samples runs of the float model by `pando run` on random inputs (--inputs says what to
            draw, --shape gives open dimensions).
  dynamic   DynamicQuantizeLinear, then MatMulInteger (weights s8) or ConvInteger (weights u8), cast, scale, bias.
  nbits     com.microsoft MatMulNBits for products with constant weights: --bits, --block, --accuracy-level,
            --zero-points.
  float16, bfloat16   every float32 value of the model, its inputs and outputs too.
  float     the float twin of a quantized model: without QuantizeLinear, DequantizeLinear and what `dynamic` writes,
            with constants as they dequantize. A value that only its quantization cut is not cut any more.

Needs Debian's python3-onnx and python3-numpy. The same model and options give the same twin.
"""
import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

PRODUCTS = {"Conv", "Gemm", "MatMul"}
# Quantized where they stand between quantized values: with a range of their own, or with that of their operand.
BETWEEN = {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "HardSwish"}
MOVES = {"MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"}
CUTS = {"Relu", "Clip"}  # done by the quantization behind a product


def refuse(why):
    sys.exit(f"twins: {why}")


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


class Model:
    """A model whose constants are arrays by name, and whose nodes can be replaced."""

    def __init__(self, proto):
        self.proto, self.graph = proto, proto.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer
                          if t.data_type != TensorProto.BFLOAT16}
        self.kept = [t for t in self.graph.initializer if t.data_type == TensorProto.BFLOAT16]
        self.nodes = []
        for node in self.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
            elif node.op_type == "Transpose" and node.input[0] in self.constants:  # a tied embedding as weights
                self.constants[node.output[0]] = np.ascontiguousarray(
                    np.transpose(self.constants[node.input[0]], attributes(node).get("perm")))
            else:
                self.nodes.append(node)
        self.outputs = [o.name for o in self.graph.output]

    def readers(self):
        """How many nodes and outputs read each value, those inside of subgraphs too."""
        count = collections.Counter(self.outputs)

        def walk(nodes):
            for node in nodes:
                count.update(set(node.input))
                for attribute in node.attribute:
                    walk(attribute.g.node)
        walk(self.nodes)
        return count

    def weight(self, node, operand=1):
        """The float constant that is the node's operand, or None."""
        if len(node.input) <= operand:
            return None
        array = self.constants.get(node.input[operand])
        return array if array is not None and array.dtype == np.float32 and array.ndim >= 2 else None

    def fold_batch_norms(self):
        """Into the convolution in front: what every quantizer does first."""
        readers, by_output, folded = self.readers(), {n.output[0]: n for n in self.nodes}, {}
        for norm in [n for n in self.nodes if n.op_type == "BatchNormalization"]:
            conv = by_output.get(norm.input[0])
            operands = [self.constants.get(i) for i in norm.input[1:5]]
            if conv is None or conv.op_type != "Conv" or readers[norm.input[0]] != 1 or self.weight(conv) is None or \
                    any(o is None for o in operands):
                continue
            gamma, beta, mean, variance = operands
            factor = gamma / np.sqrt(variance + attributes(norm).get("epsilon", 1e-5))
            weight = self.weight(conv)
            bias = self.constants[conv.input[2]] if len(conv.input) > 2 else np.zeros_like(mean)
            name = conv.input[1]
            spread = factor.reshape([-1] + [1] * (weight.ndim - 1))
            self.constants[f"{name}/folded"] = (weight * spread).astype(np.float32)
            self.constants[f"{name}/bias"] = ((bias - mean) * factor + beta).astype(np.float32)
            folded[norm.output[0]] = helper.make_node(
                "Conv", [conv.input[0], f"{name}/folded", f"{name}/bias"], [norm.output[0]], conv.name,
                **attributes(conv))
            self.nodes.remove(conv)
        self.nodes = [folded.get(n.output[0], n) for n in self.nodes]

    def split_gemms(self):
        """A Gemm with constant weights as MatMul and Add, where it is no more than that."""
        nodes = []
        for node in self.nodes:
            a, weight = attributes(node), self.weight(node)
            if node.op_type != "Gemm" or weight is None or a.get("alpha", 1) != 1 or a.get("beta", 1) != 1 or \
                    a.get("transA", 0):
                nodes.append(node)
                continue
            name, bias = node.input[1], len(node.input) > 2 and node.input[2]
            if a.get("transB", 0):
                self.constants[f"{name}/transposed"] = np.ascontiguousarray(weight.T)
                name = f"{name}/transposed"
            product = f"{node.output[0]}/product" if bias else node.output[0]
            nodes.append(helper.make_node("MatMul", [node.input[0], name], [product], node.name))
            if bias:
                nodes.append(helper.make_node("Add", [product, bias], [node.output[0]]))
        self.nodes = nodes

    def finish(self, nodes, domains=()):
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(nodes)
        used = set(self.outputs) | {i for n in nodes for i in n.input}
        used |= {name for n in nodes for a in n.attribute for name in names_read_inside(a.g)}
        self.graph.initializer.extend(t for t in self.kept if t.name in used)
        self.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in self.constants.items()
                                      if name in used)
        names = {t.name for t in self.graph.initializer}  # constants, and not inputs with a default value
        inputs = [i for i in self.graph.input if i.name not in names]
        del self.graph.input[:]
        self.graph.input.extend(inputs)
        self.proto.ir_version = max(self.proto.ir_version, 4)
        for domain in domains:
            if domain not in [o.domain for o in self.proto.opset_import]:
                self.proto.opset_import.append(helper.make_opsetid(domain, 1))
        self.proto.producer_name = "pando twins"
        return self.proto


def raise_opset(proto):
    """To 13, the first with scales per channel and bfloat16."""
    version = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 1)
    if version >= 13:
        return proto
    try:
        return version_converter.convert_version(proto, 13)
    except (RuntimeError, IndexError) as e:
        refuse(f"the model has opset {version} and cannot be raised to 13: {e}")


def names_read_inside(graph):
    names = {i for n in graph.node for i in n.input} | {o.name for o in graph.output}
    for n in graph.node:
        for a in n.attribute:
            names |= names_read_inside(a.g)
    return names


# ---- scales ----

def scale_of_range(low, high):
    """u8 with a zero point: the range with 0 in it, in 255 steps."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = np.float32((high - low) / 255) if high > low else np.float32(1)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def quantize_weight(weight, axis):
    """s8 without a zero point, a scale per index of `axis`, or one for all with None."""
    over = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    scale = (np.abs(weight).max(axis=over) / 127).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    spread = scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    return np.clip(np.rint(weight / spread), -127, 127).astype(np.int8), scale


# ---- calibration ----

def ranges(model, names, options):
    """The least and largest value of each name in runs of the float model on random inputs."""
    probe, names, found = onnx.ModelProto(), sorted(names), {}
    probe.CopyFrom(model.proto)
    del probe.graph.output[:]
    for i, name in enumerate(names):  # through copies with short names: inputs are seen too, and names become files
        probe.graph.node.append(helper.make_node("Identity", [name], [f"seen{i}"]))
        probe.graph.output.append(helper.make_tensor_value_info(f"seen{i}", TensorProto.FLOAT, None))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / pathlib.Path(options.file).name  # --inputs finds the model by its file's name
        onnx.save(probe, str(path))
        for sample in range(options.samples):
            command = [options.pando, "run", str(path), "--random-inputs", "--seed", str(options.seed + sample),
                       "--output-dir", f"{folder}/out"]
            command += ["--inputs", options.inputs] if options.inputs else []
            command += [word for s in options.shape for word in ("--shape", s)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                refuse(done.stderr.strip())
            for i, name in enumerate(names):
                array = np.load(f"{folder}/out/seen{i}.npy")
                low, high = found.get(name, (np.inf, -np.inf))
                found[name] = (min(low, array.min()), max(high, array.max()))
    return found


# ---- the kinds ----

def marked_values(model):
    """The values to quantize, in order; and for each the value whose scale it shares, or itself."""
    readers, marked, quantized = model.readers(), {}, []
    sole_reader = {i: n for n in model.nodes for i in n.input if readers[i] == 1}
    for node in model.nodes:
        operands = node.input[:2] if node.op_type in PRODUCTS | MOVES | CUTS else node.input
        if node.op_type in MOVES | CUTS:
            operands = operands[:1]
        between = node.op_type in BETWEEN | MOVES | CUTS and \
            all(i in marked or i in model.constants and node.op_type in ("Add", "Mul") for i in operands)
        if node.op_type not in PRODUCTS and not between or len(node.output) != 1:
            continue
        quantized.append(node)
        for i in operands:
            if i not in model.constants:
                marked.setdefault(i, i)
        output, after = node.output[0], sole_reader.get(node.output[0])
        if node.op_type not in MOVES | CUTS and after is not None and after.op_type in CUTS and \
                output not in model.outputs:
            marked[after.output[0]] = after.output[0]
        elif output not in marked:
            marked[output] = marked[operands[0]] if node.op_type in MOVES else output
    # A cut of a value that is not quantized itself is done by the quantization behind it.
    return marked, [n for n in quantized if n.op_type not in CUTS or n.input[0] in marked]


def qdq(model, options):
    model.fold_batch_norms()
    model.finish(model.nodes)
    marked, quantized = marked_values(model)
    if not quantized:
        refuse("no operator to quantize")
    found = ranges(model, set(marked.values()), options)
    quantized_ids, nodes, read_as, scales = {id(n) for n in quantized}, [], {}, {}

    def constant(name, array):
        model.constants[name] = np.asarray(array)
        return name

    def pair(value, source, target):
        like = marked[value]
        scale, zero = scales[value] = scale_of_range(*found[like])
        names = [constant(f"{value}/scale", scale), constant(f"{value}/zero", zero)]
        nodes.append(helper.make_node("QuantizeLinear", [source, *names], [f"{value}/q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{value}/q", *names], [target]))
        read_as[value] = target

    def dequantized(name, stored, scale, axis=None):
        operands = [constant(f"{name}/q", stored), constant(f"{name}/scale", scale),
                    constant(f"{name}/zero", np.zeros(np.shape(scale), stored.dtype))]
        extra = {} if axis is None else {"axis": axis}
        nodes.append(helper.make_node("DequantizeLinear", operands, [f"{name}/dq"], **extra))
        return f"{name}/dq"

    def product_weights(node):
        """Dequantizing weights and bias, as the operands of `node`."""
        weight, tail = model.weight(node), list(node.input[2:])
        if weight is None:
            return [read_as.get(node.input[1], node.input[1]), *tail]
        axis = weight.ndim - 1 if node.op_type == "MatMul" else 0
        if node.op_type == "Gemm" and not attributes(node).get("transB", 0):
            axis = 1
        prefix = f"{node.input[1]}/{node.output[0]}"
        stored, scale = quantize_weight(weight, axis)
        bias = model.constants.get(tail[0]) if tail else None
        operands = [dequantized(prefix, stored, scale, axis)]
        if bias is None or bias.shape != scale.shape or attributes(node).get("beta", 1) != 1:
            return operands + tail
        scale = scales[node.input[0]][0] * scale
        limits = np.iinfo(np.int32)
        stored = np.clip(np.rint(bias.astype(np.float64) / scale), limits.min, limits.max).astype(np.int32)
        return [*operands, dequantized(f"{prefix}/bias", stored, scale, 0)]

    for name in [i.name for i in model.graph.input if i.name in marked]:
        pair(name, name, f"{name}/dq")
    for original in model.nodes:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if id(original) in quantized_ids and node.op_type in PRODUCTS:
            operands = product_weights(node)
            node.input[:] = [read_as.get(node.input[0], node.input[0]), *operands]
        else:
            for i, name in enumerate(original.input):
                array = model.constants.get(name)
                if id(original) in quantized_ids and node.op_type in ("Add", "Mul") and array is not None:
                    scale, zero = scale_of_range(array.min(), array.max())
                    stored = np.clip(np.rint(array / scale) + zero, 0, 255).astype(np.uint8)
                    node.input[i] = dequantized(f"{name}/{node.output[0]}", stored, scale)
                    model.constants[f"{name}/{node.output[0]}/zero"] = zero
                else:
                    node.input[i] = read_as.get(name, name)
        for i, name in enumerate(original.output):
            if name in marked and name in model.outputs:  # the output keeps its name, behind the pair
                node.output[i] = f"{name}/float"
        nodes.append(node)
        for name in original.output:
            if name in marked:
                is_output = name in model.outputs
                pair(name, f"{name}/float" if is_output else name, name if is_output else f"{name}/dq")
    return model.finish(nodes)


def dynamic(model, _options):
    model.fold_batch_norms()
    model.split_gemms()
    nodes, shared = [], {}

    def quantized_input(name):
        if name not in shared:
            shared[name] = [f"{name}/dynamic_q", f"{name}/dynamic_scale", f"{name}/dynamic_zero"]
            nodes.append(helper.make_node("DynamicQuantizeLinear", [name], shared[name]))
        return shared[name]

    for node in model.nodes:
        weight = model.weight(node) if node.op_type in ("MatMul", "Conv") else None
        if weight is None:
            nodes.append(node)
            continue
        out, name = node.output[0], node.input[1]
        stored, scale = quantize_weight(weight, None)
        zero = np.int8(0)
        if node.op_type == "Conv":
            stored, zero = (stored.astype(np.int16) + 128).astype(np.uint8), np.uint8(128)
        model.constants.update({f"{name}/q": stored, f"{name}/scale": scale, f"{name}/zero": np.asarray(zero)})
        x, x_scale, x_zero = quantized_input(node.input[0])
        keep = attributes(node)
        nodes.append(helper.make_node(node.op_type + "Integer", [x, f"{name}/q", x_zero, f"{name}/zero"],
                                      [f"{out}/sum"], node.name, **keep))
        nodes.append(helper.make_node("Cast", [f"{out}/sum"], [f"{out}/cast"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [x_scale, f"{name}/scale"], [f"{out}/scale"]))
        bias = node.op_type == "Conv" and len(node.input) > 2
        nodes.append(helper.make_node("Mul", [f"{out}/cast", f"{out}/scale"], [f"{out}/scaled" if bias else out]))
        if bias:
            spread = f"{node.input[2]}/{out}"
            model.constants[spread] = model.constants[node.input[2]].reshape([1, -1] + [1] * (weight.ndim - 2))
            nodes.append(helper.make_node("Add", [f"{out}/scaled", spread], [out]))
    if not shared:
        refuse("no product or convolution with constant weights")
    return model.finish(nodes)


def pack_blocks(weight, bits, block, with_zero):
    """[K, N] -> values [N, blocks, bytes], scales [N, blocks] and zero points (packed, or None) of MatMulNBits."""
    k, n = weight.shape
    blocks, levels = -(-k // block), 2 ** bits
    padded = np.zeros((n, blocks * block), np.float32)
    padded[:, :k] = weight.T
    cut = padded.reshape(n, blocks, block)
    if with_zero:
        low, high = np.minimum(cut.min(axis=2), 0), np.maximum(cut.max(axis=2), 0)
        scale = (high - low) / (levels - 1)
        scale[scale == 0] = 1
        zero = np.clip(np.rint(-low / scale), 0, levels - 1)
    else:  # the value of largest magnitude is the lowest level
        at = np.abs(cut).argmax(axis=2)
        scale = np.take_along_axis(cut, at[..., None], axis=2)[..., 0] / -(levels // 2)
        scale[scale == 0] = 1
        zero = np.full(scale.shape, levels // 2)
    scale = scale.astype(np.float32)
    values = np.clip(np.rint(cut / scale[..., None]) + zero[..., None], 0, levels - 1).astype(np.uint8)

    def packed(a):  # the first of two in the low half of a byte
        if bits == 8:
            return a
        if a.shape[-1] % 2:
            a = np.concatenate([a, np.full(a.shape[:-1] + (1,), levels // 2, np.uint8)], axis=-1)
        return a[..., 0::2] | a[..., 1::2] << 4
    return packed(values), scale, packed(zero.astype(np.uint8)) if with_zero else None


def nbits(model, options):
    model.split_gemms()
    nodes, done = [], False
    for node in model.nodes:
        weight = model.weight(node) if node.op_type == "MatMul" else None
        if weight is None or weight.ndim != 2:
            nodes.append(node)
            continue
        name, done = node.input[1], True
        values, scale, zero = pack_blocks(weight, options.bits, options.block, options.zero_points)
        operands = {f"{name}/q": values, f"{name}/scale": scale.reshape(-1)}
        if zero is not None:
            operands[f"{name}/zero"] = zero.reshape(-1)
        model.constants.update(operands)
        extra = {} if options.accuracy_level is None else {"accuracy_level": options.accuracy_level}
        nodes.append(helper.make_node("MatMulNBits", [node.input[0], *operands], node.output, node.name,
                                      domain="com.microsoft", K=weight.shape[0], N=weight.shape[1], bits=options.bits,
                                      block_size=options.block, **extra))
    if not done:
        refuse("no product with constant weights")
    return model.finish(nodes, ["com.microsoft"])


def narrow_floats(proto, wanted):
    """float32 as `wanted` in every tensor, type and attribute that names a type."""

    def tensor(t):
        if t.data_type != TensorProto.FLOAT:
            return
        array = numpy_helper.to_array(t)
        if wanted == TensorProto.FLOAT16:  # masks stay finite, and an epsilon more than nothing
            array = np.clip(array, -65504, 65504)
            if array.size == 1 and np.any(array != 0):
                array = np.where(np.abs(array) < 2.0 ** -24, np.copysign(2.0 ** -24, array), array)
            data = array.astype(np.float16).tobytes()
        else:
            bits = np.ascontiguousarray(array).view(np.uint32)
            rounded = (bits.astype(np.uint64) + 0x7fff + (bits >> 16 & 1)) >> 16  # half to even
            data = np.where(np.isnan(array), 0x7fc0, rounded).astype(np.uint16).tobytes()
        t.ClearField("float_data")
        t.data_type, t.raw_data = wanted, data

    def typed(value):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = wanted

    def graph(g):
        fixed = {n.input[i] for n in g.node if n.op_type in ("Resize", "Upsample")
                 for i in range(1, len(n.input)) if n.input[i]}  # scales are float32 in every model
        for t in g.initializer:
            if t.name not in fixed:
                tensor(t)
        for value in [*g.input, *g.output, *g.value_info]:
            typed(value)
        for node in g.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
                refuse("the model is quantized: make its float twin first")
            if node.op_type == "Constant" and node.output[0] in fixed:
                continue
            if node.op_type == "Constant" and node.attribute[0].name in ("value_float", "value_floats"):
                made = numpy_helper.from_array(np.array(attributes(node)[node.attribute[0].name], np.float32))
                del node.attribute[:]
                node.attribute.append(helper.make_attribute("value", made))
            if node.op_type == "ConstantOfShape" and not node.attribute:
                node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float32))))
            for a in node.attribute:
                if a.name in ("to", "dtype") and a.i == TensorProto.FLOAT:
                    a.i = wanted
                if a.HasField("t"):
                    tensor(a.t)
                if a.HasField("g"):
                    graph(a.g)
    if any(f.node for f in proto.functions):
        refuse("models with functions of their own are not converted")
    graph(proto.graph)
    return proto


def dequantize(stored, scale, zero, axis):
    if np.ndim(scale) == 1 and np.size(scale) > 1:
        shape = [-1 if i == axis % stored.ndim else 1 for i in range(stored.ndim)]
        scale, zero = np.reshape(scale, shape), np.reshape(zero, shape) if np.ndim(zero) else zero
    return ((stored.astype(np.int32) - np.asarray(zero).astype(np.int32)).astype(np.float32) * scale).astype(np.float32)


def undo_dynamic(model):
    """MatMulInteger and ConvInteger of dynamically quantized values, cast and scaled, as they were in float32."""
    by_output = {o: n for n in model.nodes for o in n.output}
    replaced, dead = {}, set()
    for scaled in [n for n in model.nodes if n.op_type == "Mul"]:
        cast, scales = (by_output.get(i) for i in scaled.input)
        product = by_output.get(cast.input[0]) if cast is not None and cast.op_type == "Cast" else None
        if product is None or product.op_type not in ("MatMulInteger", "ConvInteger") or scales is None or \
                scales.op_type != "Mul":
            continue
        quantize = by_output.get(product.input[0])
        scale = next((model.constants[i] for i in scales.input if i in model.constants), None)
        if quantize is None or quantize.op_type != "DynamicQuantizeLinear" or scale is None or \
                quantize.output[1] not in scales.input or product.input[1] not in model.constants:
            continue
        name, zero = product.input[1], model.constants.get(product.input[3], 0) if len(product.input) > 3 else 0
        axis = 0 if product.op_type == "ConvInteger" else -1
        model.constants[f"{name}/float"] = dequantize(model.constants[name], scale.reshape(-1), zero, axis)
        replaced[scaled.output[0]] = helper.make_node(
            product.op_type.removesuffix("Integer"), [quantize.input[0], f"{name}/float"], scaled.output, product.name,
            **attributes(product))
        dead.update({id(cast), id(product), id(scales), id(quantize)})
    nodes = [replaced.get(n.output[0], n) for n in model.nodes]
    live = {i for n in nodes if id(n) not in dead for i in n.input} | set(model.outputs)
    for node in reversed(nodes):  # a quantization that something else reads stays
        if id(node) in dead and live & set(node.output):
            dead.discard(id(node))
            live.update(node.input)
    model.nodes = [n for n in nodes if id(n) not in dead]


def unquantized(model, _options):
    undo_dynamic(model)
    by_output = {o: n for n in model.nodes for o in n.output}
    source, nodes = {}, []
    for node in model.nodes:
        if node.op_type == "DequantizeLinear":
            name, scale = node.input[0], model.constants.get(node.input[1])
            if name in model.constants and scale is not None:
                stored = model.constants[name]
                zero = model.constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale, stored.dtype)
                model.constants[node.output[0]] = dequantize(stored, scale, zero, attributes(node).get("axis", 1))
                continue
            quantize = by_output.get(name)
            if quantize is None or quantize.op_type != "QuantizeLinear":
                refuse(f"DequantizeLinear '{node.name}' reads '{name}', which no QuantizeLinear made")
            source[node.output[0]] = quantize.input[0]
        nodes.append(node)

    def origin(name):
        while name in source:
            name = source[name]
        return name
    kept = []
    for node in nodes:
        if node.op_type == "DequantizeLinear":
            if node.output[0] in model.outputs:
                kept.append(helper.make_node("Identity", [origin(node.output[0])], [node.output[0]]))
            continue
        node.input[:] = [origin(i) for i in node.input]
        kept.append(node)
    used = {i for n in kept if n.op_type != "QuantizeLinear" for i in n.input} | set(model.outputs)
    kept = [n for n in kept if n.op_type != "QuantizeLinear" or n.output[0] in used]
    return model.finish(kept)


KINDS = {"qdq": qdq, "dynamic": dynamic, "nbits": nbits, "float": unquantized}
NARROW = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("model")
    parser.add_argument("--kind", required=True, choices=[*KINDS, *NARROW])
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--pando", default=str(here.parent / "build/release/bin/pando"))
    parser.add_argument("--zoo-args", default="", help="for zoo:NAME, as in '--batch 4 --seq 64'")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", help="FILE.json, as `pando run` takes it")
    parser.add_argument("--shape", action="append", default=[], help="NAME:DxDxD")
    parser.add_argument("--bits", type=int, default=4, choices=[4, 8])
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--accuracy-level", type=int)
    parser.add_argument("--zero-points", action="store_true", help="blocks with a zero point each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.file = options.model
        if options.model.startswith("zoo:"):
            options.file = f"{folder}/{options.model[4:]}.onnx"
            done = subprocess.run([options.pando, "zoo", options.model[4:], "-o", options.file,
                                   *options.zoo_args.split()], capture_output=True, text=True)
            if done.returncode:
                refuse(done.stderr.strip())
        proto = onnx.load(options.file)
        if options.kind in ("qdq", "dynamic", "bfloat16"):
            proto = raise_opset(proto)
        if options.kind in NARROW:
            twin = narrow_floats(proto, NARROW[options.kind])
        else:
            twin = KINDS[options.kind](Model(proto), options)
    onnx.checker.check_model(twin)
    onnx.save(twin, options.output)


if __name__ == "__main__":
    main()
