"""A network's Config at sizes it was not tuned for: tiles made anew, groups in parts, never an exception."""

from collections.abc import Callable

import pytest

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.lowering.pipeline import compile_graph
from tilewright.search_space.knobs import Config
from tilewright.tuner.network.assignment import assignment_of, guessed_of
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.sizes.retile import Tuned, loop_extents, retiled
from tilewright.tuner.sizes.transfer import carried, portable
from tilewright.tuner.subject import Subject

Open = Callable[[int], Opened]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Sessions of softmax(x @ x') @ x: rows of scores that a small L1 holds up to some size."""
    folder = tmp_path_factory.mktemp("transfer")
    made = model(
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("MatMul", "x t", "s"),
            node("Softmax", "s", "p"),
            node("MatMul", "p x", "y"),
        ],
        [value("x", ["rows", 32])],
        ["y"],
    )
    path = saved(made, folder)
    return lambda rows: open_network(
        Subject(path, "ethos_u55_128", dims={"rows": rows}), folder / "transfer.db"
    )


@pytest.fixture(scope="module")
def told(opened: Open) -> Config:
    """The answer at 16 rows, where everything is one kernel."""
    with opened(16) as network:
        plan = network.planner.replan()
        assert len(plan.groups) == 1
        return portable(network, guessed_of(network, plan).config)


@pytest.mark.parametrize(("rows", "split"), [(2, 0), (15, 0), (17, 0), (150, 0), (400, 1)])
def test_a_group_runs_at_every_size_whole_or_in_parts(
    rows: int, split: int, opened: Open, told: Config
) -> None:
    with opened(rows) as network:
        found = carried(told, network)
        assert found.split == split
        plan, schedule = network.schedule_of(found.config)
        program = compile_graph(plan.graph, schedule, network.target, plan)
        assert verify_program(plan.graph, program, network.target) == []
        assert set(assignment_of(network, found.config).choices) == set(plan.counts)


def test_a_tile_keeps_its_size_or_its_count_whichever_promises_more(opened: Open, told: Config) -> None:
    with opened(96) as network:
        (task,) = network.planner.tasks_of(network.schedule_of(carried(told, network).config)[0])
        tuned = retiled(task, Tuned(task.default, loop_extents(task.regions)))
        assert tuned is not None
        assert task.space.contains(tuned)
        draft_log, encode = task.model.draft_log, task.space.encode
        assert draft_log(encode(tuned)[None, :])[0] <= draft_log(encode(task.default)[None, :])[0]


def test_another_network_is_refused(opened: Open, told: Config) -> None:
    other = Config(tuple((name, "0" if name == "ops" else given) for name, given in told.items))
    with opened(20) as network, pytest.raises(ConfigError, match="other ops"):
        carried(other, network)
