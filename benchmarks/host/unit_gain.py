"""A model with random weights in place of constant ones, so that its arithmetic is that of a trained one.

The networks inside the onnx package have every weight equal. Their activations are then all alike, or vanish:
zeros and denormal numbers take another time than others, and a wrong order of weights goes unnoticed.
"""

from math import prod

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from tilewright.compiler_core.ir.ops import Array

WITHOUT_INPUTS = 4
"""From this version of the format on, an initializer need not be an input as well."""


def with_unit_gain(model: ModelProto, seed: int) -> ModelProto:
    """A copy in which float constants of one repeated number are drawn anew; others stay.

    Weights (two dims and more) are normal, divided by the root of their fan-in, so that values keep their
    size; vectors lie between 0.5 and 1.5, since some are variances.
    """
    rng = np.random.default_rng(seed)
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    known = {each.name: each for each in graph.initializer}
    kept, drawn = [], {}
    for each in graph.node:
        shape = known.get(each.input[0]) if each.op_type == "ConstantOfShape" else None
        value = next((a.t for a in each.attribute if a.name == "value"), None)
        if shape is None or (value is not None and value.data_type != TensorProto.FLOAT):
            kept.append(each)
        else:
            drawn[each.output[0]] = tuple(int(n) for n in numpy_helper.to_array(shape))
    for each in graph.initializer:
        if each.data_type == TensorProto.FLOAT and prod(each.dims) > 1:
            array = numpy_helper.to_array(each)
            if (array == array.flat[0]).all():
                drawn[each.name] = tuple(each.dims)
    read = {name for each in kept for name in each.input} | {each.name for each in graph.output}
    rest = [each for each in graph.initializer if each.name in read - drawn.keys()]
    given = [each for each in graph.input if each.name not in drawn and each.name not in known]
    del graph.node[:], graph.initializer[:], graph.input[:]
    graph.node.extend(kept)
    graph.input.extend(given)
    graph.initializer.extend(rest)
    graph.initializer.extend(
        numpy_helper.from_array(_drawn(shape, rng), name) for name, shape in drawn.items()
    )
    made.ir_version = max(made.ir_version, WITHOUT_INPUTS)
    return made


def _drawn(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if len(shape) < 2:
        return np.asarray(rng.uniform(0.5, 1.5, shape), dtype=np.float32)
    return np.asarray(rng.standard_normal(shape) / prod(shape[1:]) ** 0.5, dtype=np.float32)
