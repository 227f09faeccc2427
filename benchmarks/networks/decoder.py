"""A decoder layer: one step behind a cache of keys and values, beside running all tokens again.

`python -m benchmarks.networks.decoder --svg decoder.svg` draws the curve of docs/guide/limits.md.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from onnx import TensorProto, helper, numpy_helper

from benchmarks.networks.hardware import fused_and_not
from tilewright.api.pages.drawn.svg import BLUE, ORANGE, Drawing, across, up
from tilewright.api.pages.one_file import standing_alone
from tilewright.compiler_core.files.outputs import write_text
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target

Row = dict[str, Any]
WIDTH, HEADS, HIDDEN = 768, 12, 3072
"""A layer of GPT-2 small (A. Radford et al., 2019)."""
TOKENS = (16, 64, 256, 1024, 4096)


def decoder_layer() -> onnx.ModelProto:
    """One layer over `seq` new tokens behind `past` old ones; norms and masks are left out."""
    nodes, weights = [], []

    def weight(name: str, *shape: int) -> str:
        array = np.full(shape, 1 / 64, np.float32)
        weights.append(numpy_helper.from_array(array, name))
        return name

    def add(kind: str, inputs: str, output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(kind, inputs.split(), [output], **attributes))

    heads = numpy_helper.from_array(np.array([0, 0, HEADS, WIDTH // HEADS]), "heads")
    flat = numpy_helper.from_array(np.array([0, 0, WIDTH]), "flat")
    for name, order in (("q", (0, 2, 1, 3)), ("k", (0, 2, 1, 3)), ("v", (0, 2, 1, 3))):
        add("MatMul", f"x {weight(f'w{name}', WIDTH, WIDTH)}", f"{name}0")
        add("Reshape", f"{name}0 heads", f"{name}1")
        add("Transpose", f"{name}1", f"{name}2", perm=list(order))
    add("Concat", "past_k k2", "keys", axis=2)
    add("Concat", "past_v v2", "values", axis=2)
    add("Transpose", "keys", "keys_t", perm=[0, 1, 3, 2])
    add("MatMul", "q2 keys_t", "scores")
    add("Softmax", "scores", "shares", axis=-1)
    add("MatMul", "shares values", "mixed")
    add("Transpose", "mixed", "mixed_t", perm=[0, 2, 1, 3])
    add("Reshape", "mixed_t flat", "joined")
    add("MatMul", f"joined {weight('wo', WIDTH, WIDTH)}", "projected")
    add("Add", "projected x", "attended")
    add("MatMul", f"attended {weight('w1', WIDTH, HIDDEN)}", "hidden")
    add("Relu", "hidden", "active")
    add("MatMul", f"active {weight('w2', HIDDEN, WIDTH)}", "back")
    add("Add", "back attended", "y")
    kept: list[int | str] = [1, HEADS, "past", WIDTH // HEADS]
    shapes: dict[str, list[int | str]] = {"x": [1, "seq", WIDTH], "past_k": kept, "past_v": kept}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "seq", WIDTH]),
        helper.make_tensor_value_info("keys", TensorProto.FLOAT, [1, HEADS, "all", WIDTH // HEADS]),
        helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, HEADS, "all", WIDTH // HEADS]),
    ]
    graph = helper.make_graph(nodes, "decoder layer", inputs, outputs, [*weights, heads, flat])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


def curve(tokens: Sequence[int] = TOKENS, target: str = "ascend910", seed: int = 0) -> list[Row]:
    """A row for each number of tokens: us of a step and of recomputation, every kernel at its guess."""
    chip = load_target(target)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.onnx"
        onnx.save(decoder_layer(), path)
        for count in tokens:
            graphs = [import_bound(path, {"seq": seq, "past": count - seq}).graph for seq in (1, count)]
            step_us, again_us = (fused_and_not(graph, chip, seed)["fused_us"] for graph in graphs)
            rows.append({"tokens": count, "step_us": step_us, "again_us": again_us})
            print(f"{count:6d} tokens: a step {step_us:.2f} us, all again {again_us:.2f} us")
    return rows


def picture(rows: Sequence[Row], target: str) -> str:
    """Both curves over the number of tokens, on logarithmic scales, as an SVG."""
    last = rows[-1]
    drawing = Drawing(
        "A step beside recomputation",
        f"A decoder layer on {target}. At {last['tokens']} tokens a step behind the cache takes "
        f"{last['step_us']:.4g} us, all tokens again {last['again_us']:.4g} us.",
    )
    numbers = [row[name] for row in rows for name in ("step_us", "again_us")]
    x = across(rows[0]["tokens"], last["tokens"], logarithmic=True)
    y = up(min(numbers) * 0.8, max(numbers) * 1.25, logarithmic=True)
    drawing.axes(x, y, "tokens", "us")
    for name, color in (("step_us", BLUE), ("again_us", ORANGE)):
        drawing.line([(x(row["tokens"]), y(row[name])) for row in rows], color)
        for row in rows:
            drawing.dot(
                x(row["tokens"]), y(row[name]), 4, color, f"{row['tokens']} tokens: {row[name]:.4g} us"
            )
        drawing.text(x(last["tokens"]) - 6, y(last[name]) - 9, f"{last[name]:.4g} us", "end")
    drawing.legend([(BLUE, "one step behind a cache"), (ORANGE, "all tokens again")])
    return standing_alone(str(drawing))


def main(svg: Annotated[Path, typer.Option(help="The picture to write.")], target: str = "ascend910") -> None:
    """Print the curve and draw it."""
    write_text(picture(curve(target=target), target), svg)


if __name__ == "__main__":
    typer.run(main)
