"""T1 documents: expressions mean what Python says they mean, and nothing else gets through."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tuner.landscapes import T1
from tilewright.compiler_core.errors import ConfigError
from tilewright.search_space.moves import enumerate_rows, feasible_rows
from tilewright.search_space.t1 import load_t1, parse_condition, space_from_t1

GRID = [(x, y) for x in (0, 1, 2, 3, 16, 33) for y in (1, 2, 5, 32)]

EXPRESSIONS: list[tuple[str, Callable[[int, int], Any]]] = [
    ("x*y <= 64", lambda x, y: x * y <= 64),
    ("1 <= x < y <= 32", lambda x, y: 1 <= x < y <= 32),
    ("x == 0 or y % x == 0", lambda x, y: x == 0 or y % x == 0),
    ("not (x // y > 2) and -x + y != 3", lambda x, y: not (x // y > 2) and -x + y != 3),
    ("x in (1, 2, 16) or y not in [2, 5]", lambda x, y: x in (1, 2, 16) or y not in [2, 5]),
    ("max(x, y, 4) - min(x, y) < 12", lambda x, y: max(x, y, 4) - min(x, y) < 12),
    ("(x if y > 2 else y) ** 2 < 10", lambda x, y: (x if y > 2 else y) ** 2 < 10),
    ("x / y <= 0.5", lambda x, y: x / y <= 0.5),
    ("x", lambda x, y: bool(x)),
    ("True", lambda x, y: True),
]


@pytest.mark.parametrize(("text", "meant"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_a_condition_means_what_python_means(text: str, meant: Callable[[int, int], Any]) -> None:
    columns = {"x": np.array([x for x, _ in GRID]), "y": np.array([y for _, y in GRID])}
    with np.errstate(all="ignore"):
        got = np.broadcast_to(parse_condition(text, {"x", "y"})(columns), len(GRID)).astype(bool)
    assert got.tolist() == [bool(meant(x, y)) for x, y in GRID]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "x.__class__",
        "open('f')",
        "[x for x in (1, 2)]",
        "z < 3",
        "lambda: 0",
        "(x := 3)",
        "x <",
        "x is y",
        "(" * 500 + "x" + ")" * 500,
    ],
)
def test_whatever_is_not_on_the_list_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_condition(text, {"x", "y"})


def document(values: Any, conditions: list[Any] | None = None) -> dict[str, Any]:
    return {
        "ConfigurationSpace": {
            "TuningParameters": [{"Name": "x", "Values": values}],
            "Conditions": conditions or [],
        }
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("[4, 1, 2]", (1, 2, 4)),
        ("[1, 2] + [4 * i for i in range(1, 3)]", (1, 2, 4, 8)),
        ("list(range(0, 6, 2))", (0, 2, 4)),
        ("list(range(16 // 2, 2**5 + 1, 4 * 2))", (8, 16, 24, 32)),
        ("[x * 8 for x in range(max(1, 0), -1 + 2 ** 2)]", (8, 16)),
        ("['b', 'a']", ("b", "a")),
        ([True, False], (True, False)),
        ("[0.5, 1.0]", (0.5, 1.0)),
    ],
)
def test_value_lists(values: Any, expected: tuple[Any, ...]) -> None:
    knob = space_from_t1(document(values)).knobs[0]
    assert knob.values == expected
    assert knob.ordered == all(type(value) in (int, float) for value in expected)


@pytest.mark.parametrize(
    "values",
    [
        "[open('f')]",
        "range(10**9)",
        "range(1 // 0)",
        "range(1.5)",
        "range(9**9**9)",
        "range(n)",
        "3",
        "[[1]]",
        "[1",
        "x" * 30_000,
    ],
)
def test_bad_value_lists_name_the_parameter(values: str) -> None:
    with pytest.raises(ConfigError, match="parameter 'x'"):
        space_from_t1(document(values))


def test_conditions_decide_the_space_and_its_digest() -> None:
    free, held = space_from_t1(document("[1, 2, 3]")), space_from_t1(document("[1, 2, 3]", ["x != 2"]))
    rows = enumerate_rows(held)
    assert rows is not None
    assert rows.ravel().tolist() == [0, 2]
    assert free.digest != held.digest


LARGE = {
    "ConfigurationSpace": {
        "TuningParameters": [
            {"Name": name, "Values": f"[{scale} * i for i in range(1, 13)]"}
            for name, scale in (("m", 4), ("n", 4), ("k", 8), ("a", 2), ("b", 2), ("c", 2), ("d", 1))
        ],
        "Conditions": [
            "m % a == 0 and a * 12 == m",
            "n == 12 * b",
            "k == 8 * c or k == 96",
            "d <= c and d > 9",
        ],
    }
}


def test_a_space_is_enumerated_by_its_valid_rows_not_by_its_grid() -> None:
    """12^7 combinations, checked against loops of plain Python."""
    space = space_from_t1(LARGE)
    assert space.grid_size == 12**7
    rows = feasible_rows(space, 20_000)
    assert rows is not None
    values = [[float(str(value)) for value in knob.values] for knob in space.knobs]
    expected = [
        (m, n, k, a, b, c, d)
        for m in range(12)
        for n in range(12)
        for k in range(12)
        for a in range(12)
        if values[0][m] % values[3][a] == 0 and values[3][a] * 12 == values[0][m]
        for b in range(12)
        if values[1][n] == 12 * values[4][b]
        for c in range(12)
        if values[2][k] == 8 * values[5][c] or values[2][k] == 96
        for d in range(12)
        if values[5][c] >= values[6][d] > 9
    ]
    assert [tuple(row) for row in rows.tolist()] == expected
    assert space.feasible(rows).all()
    assert feasible_rows(space, len(rows) - 1) is None
    assert feasible_rows(space, 20_000, partial=100) is None


def test_both_enumerations_agree_where_the_grid_is_small() -> None:
    space = space_from_t1(T1)
    rows, expected = feasible_rows(space, 20_000), enumerate_rows(space)
    assert rows is not None
    assert rows.tolist() == ([] if expected is None else expected.tolist())
    assert feasible_rows(replace(space, begins=None), 3) is None


def test_a_file_that_is_no_t1_is_named(tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"space\.json"):
        load_t1(path)
    path.write_text(json.dumps({"ConfigurationSpace": {}}))
    with pytest.raises(ConfigError, match="TuningParameters"):
        load_t1(path)


SMALL: dict[str, list[Any]] = {"a": [1, 2, 4, 8], "b": [0, 1, 33], "f": [0.5, 2.5], "t": [True, False]}


@pytest.mark.parametrize(
    "conditions",
    [
        ["t + (a > 2) + (b > 0) >= 2"],
        ["-t < 0 and -(a > 2) == 0"],
        ["(b or -3) != a and (a and b) < 9"],
        ["(t or f) * a <= 2.5", "max(t, a > 4) - 1 < 0 or int(f) % 2 == 0"],
        ["a ** t <= abs(b - 2)", "(a > 1) & t | (b == 0)"],
        ["100000 or b", "1 <= (a > 2) + t <= b"],
        ["not (t and b) or a % b == 1"],
    ],
)
def test_valid_rows_are_those_that_plain_python_counts(conditions: list[str]) -> None:
    parameters = [{"Name": name, "Values": values} for name, values in SMALL.items()]
    space = space_from_t1({"ConfigurationSpace": {"TuningParameters": parameters, "Conditions": conditions}})
    rows = feasible_rows(space, 1000)
    assert rows is not None
    found = [tuple(value for _, value in space.decode(row).items) for row in rows]
    asked = [compile(text, "condition", "eval") for text in conditions]
    names = {"max": max, "int": int, "abs": abs, "__builtins__": {}}
    expected = [
        values
        for values in product(*SMALL.values())
        if all(eval(each, names, dict(zip(SMALL, values, strict=True))) for each in asked)  # noqa: S307
    ]
    assert sorted(map(str, found)) == sorted(map(str, expected))
    assert len(found) > 0
