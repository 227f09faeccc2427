"""`tune plan` and its memory map, from file to figures."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.compiler_core.test_kernel_order import two_branches
from tests.onnx_models import SHARED, model, node, saved, small_cnn, value
from tests.targets import target_with_llb
from tilewright.api.cli.main import main
from tilewright.compiler_core.lowering.memory.allocate import Arena, allocate
from tilewright.compiler_core.order.kernel_graph import KernelGraph, KernelTensor
from tilewright.tuner.verbs.memory_map import memory_map
from tilewright.tuner.verbs.plan import plan

SVG = "{http://www.w3.org/2000/svg}"
X, WIDE, NARROW = 1024, 16384, 1024
WEIGHTS = 64 * 4 * 2  # of each convolution, in f16


def chain() -> tuple[KernelGraph, Arena]:
    """x -> kernel 0 -> a -> kernel 1, in place -> b."""
    tensors = (
        KernelTensor(100, -1, (0,)),
        KernelTensor(400, 0, (1,)),
        KernelTensor(400, 1, (), is_output=True),
    )
    graph = KernelGraph("chain", 2, tensors, (False, True))
    return graph, allocate(graph, (0, 1))


def test_figures_of_a_network_that_gains(tmp_path: Path) -> None:
    made = plan(saved(two_branches(), tmp_path))
    assert made.given_peak_bytes == X + 2 * WIDE
    assert made.proof.peak_bytes == made.proof.bound_bytes == made.arena.arena_bytes == X + WIDE + NARROW
    assert made.compulsory_bytes == X + 2 * NARROW
    assert made.traffic is None
    assert sorted(made.steps) == ["Concat y", "Conv a0", "Conv a1", "Conv b0", "Conv b1"]


def test_traffic_at_the_capacity_of_a_target(tmp_path: Path) -> None:
    """In f16 the solved order fits 10 KiB and moves only what it must; two wide values at once do not fit."""
    made = plan(saved(two_branches(), tmp_path), target_with_llb(tmp_path, kib=10))
    least = (X + 2 * NARROW) // 2
    assert made.given_peak_bytes == (X + 2 * WIDE) // 2
    traffic = made.traffic
    assert traffic is not None
    assert traffic.least_bytes == traffic.solved_bytes == traffic.bound_bytes == least < traffic.given_bytes
    assert traffic.weight_bytes == 4 * WEIGHTS
    assert 2 * WEIGHTS <= traffic.prefetched_bytes <= 3 * WEIGHTS


def test_a_kernel_too_large_for_the_capacity_streams(tmp_path: Path) -> None:
    traffic = plan(saved(two_branches(), tmp_path), target_with_llb(tmp_path, kib=8)).traffic
    assert traffic is not None
    assert (X + 2 * NARROW) // 2 < traffic.bound_bytes <= traffic.least_bytes <= traffic.given_bytes


def test_the_map_draws_every_value_where_it_lies() -> None:
    _, arena = chain()
    root = ElementTree.fromstring(memory_map(arena, ["x", "a", "b"], ["conv", "relu"], "chain"))
    boxes = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "value"]
    # The result of the kernel in place takes over after its operand, so it has no step of its own here.
    titles = [box.findtext(f"{SVG}title") for box in boxes]
    assert titles == [
        f"x: 100 bytes at {arena.offsets[0]:,}, steps 0 to 0",
        f"a: 400 bytes at {arena.offsets[1]:,}, steps 0 to 1",
    ]
    x, a = boxes
    assert float(a.get("height", 0)) == pytest.approx(4 * float(x.get("height", 0)), rel=1e-3)
    assert float(a.get("width", 0)) == pytest.approx(2 * float(x.get("width", 0)), rel=1e-3)
    assert "a 400 B" in [text.text for text in root.iter(f"{SVG}text")]
    (live,) = (line for line in root.iter(f"{SVG}polyline"))
    heights = [float(point.split(",")[1]) for point in live.get("points", "").split()]
    assert heights[0] < heights[2]


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", 'a"b&c', "]]>", "bad\x00\x0b\ud800\ufffe", "日本"]
)
def test_names_cannot_break_the_document(name: str) -> None:
    _, arena = chain()
    text = memory_map(arena, [name] * 3, [name] * 2, name)
    text.encode("utf-8")
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "rect", "text", "path", "title", "polyline",
    }  # fmt: skip
    if name.isprintable():
        assert root.find(f"{SVG}text").text == name  # type: ignore[union-attr]  # there is a title


def test_an_empty_network_has_a_map() -> None:
    graph = KernelGraph("empty", 0, (), ())
    ElementTree.fromstring(memory_map(allocate(graph, ()), [], [], "empty"))


def test_the_verb_prints_draws_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, drawn, written = saved(two_branches(), tmp_path), tmp_path / "map.svg", tmp_path / "plan.json"
    assert main(["plan", str(path), "--target", "ascend910", "-o", str(drawn), "--json", str(written)]) == 0
    shown = capsys.readouterr().out
    assert "optimal" in shown
    assert f"{(X + WIDE + NARROW) // 2:,d} bytes" in shown
    assert ElementTree.parse(drawn).getroot().tag == f"{SVG}svg"
    told = json.loads(written.read_text())
    assert told["solved_peak_bytes"] == told["bound_bytes"] == told["arena_bytes"] < told["given_peak_bytes"]
    assert sorted(told["order"]) == list(range(told["kernels"]))
    assert {"x", "a0", "a1", "y"} <= {row["name"] for row in told["values"]}


def test_the_same_model_gives_the_same_plan(tmp_path: Path) -> None:
    path = saved(small_cnn(), tmp_path)
    one, other = plan(path, "ascend910"), plan(path, "ascend910")
    assert one.to_json() == other.to_json()
    assert one.svg == other.svg


def test_what_is_wrong_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    symbolic = saved(model([node("Relu", "x", "y")], [value("x", ["batch", 4])], ["y"]), tmp_path)
    assert main(["plan", str(symbolic)]) == 2
    assert "batch" in capsys.readouterr().err
    assert main(["plan", str(symbolic), "--dim", "batch=2", "-o", str(tmp_path / "no" / "map.svg")]) == 2
    error = capsys.readouterr().err
    assert "cannot write" in error
    assert error.count("\n") == 1


@pytest.mark.skipif(not SHARED.exists(), reason="the shared networks are not here")
def test_a_random_wiring_needs_less_than_its_own_order() -> None:
    made = plan(SHARED / "models" / "randwire_ws32.onnx")
    assert (made.proof.status, made.arena.gap_bytes) == ("optimal", 0)
    assert made.proof.peak_bytes < 0.85 * made.given_peak_bytes
