"""A Program survives its file, the file fits the published schema, and a damaged one is refused."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from tests.small_networks import CASES, Case, three_kernels
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.lowering.formats import program_json
from tilewright.compiler_core.lowering.formats.program_json import program_from_json, program_to_json
from tilewright.compiler_core.meaning.interpret import interpret

SCHEMA = json.loads(Path(program_json.__file__).with_name("program.schema.json").read_text(encoding="utf-8"))


def _text(case: Case) -> str:
    return json.dumps(program_to_json(case.compile(), {0: "x"}), allow_nan=False)


@pytest.mark.parametrize("name", CASES)
def test_a_program_comes_back_whole(name: str) -> None:
    """Sound, with the same numbers, and the same file again."""
    case = CASES[name]()
    text = _text(case)
    jsonschema.validate(json.loads(text), SCHEMA)
    program = program_from_json(text)
    assert verify_program(case.graph, program, case.target) == []
    expected = interpret(case.graph, case.inputs)
    for value, array in emulate(case.graph, program, case.inputs).items():
        np.testing.assert_array_equal(array, expected[value])
    assert json.dumps(program_to_json(program, {0: "x"}), allow_nan=False) == text


def test_kernels_that_share_a_lowering_are_written_once() -> None:
    case = three_kernels()
    form: Any = program_to_json(case.compile(), {})
    assert len(form["kernels"]) == len({call.program for (call,) in case.compile().stages}) == 3  # type: ignore[union-attr]
    assert [stage[0]["kernel"] for stage in form["stages"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], "another"),
        (["version"], 2),
        (["kernels"], None),
        (["kernels", 0, "workload", "graph", "ops", 0, "kind"], "no_such_op"),
        (["kernels", 0, "steps", 0, "action"], "wait"),
        (["kernels", 0, "buffers", 0, "offset"], None),
        (["kernels", 0, "domains", 0, 0, "shape"], [7, 7]),
        (["stages", 0, 0, "kernel"], 99),
        (["llb"], {}),
    ],
)
def test_a_damaged_file_is_refused_by_the_schema_or_the_reader(path: list[Any], value: Any) -> None:
    form = json.loads(_text(three_kernels()))
    place = form
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    refused = bool(list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(form)))
    try:
        program_from_json(json.dumps(form))
    except RecordError:
        refused = True
    assert refused


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, '{"format": 1}'])
def test_what_is_no_program_at_all_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        program_from_json(text)


def test_the_page_explains_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "program.md").read_text(encoding="utf-8")

    def fields(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(fields, schema))
        if not isinstance(schema, dict):
            return set()
        return {*schema.get("properties", ())}.union(*map(fields, schema.values()))

    assert {field for field in fields(SCHEMA) if f"`{field}`" not in page} == set()
