"""Configs of the user's own are measured first, wherever they come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.landscapes import T1, t4
from tests.tuner.open_runs import TARGET, two_products
from tilewright.api.cli.options import read_share
from tilewright.api.schemas.jobs import JobSpec
from tilewright.compiler_core.errors import InputError, UsageError
from tilewright.search_space.knobs import Config, KnobValue
from tilewright.tuner.jobs.request import read_request, request_to_json
from tilewright.tuner.kernel.candidates import Candidate, read_candidates
from tilewright.tuner.request import TuneRequest
from tilewright.tuner.verbs.space import tune_space
from tilewright.tuner.verbs.tune import tune


def written(folder: Path, document: Any) -> Path:
    path = folder / "tries.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_file_lists_configs_or_is_the_answer_of_a_run(tmp_path: Path) -> None:
    knobs: dict[str, KnobValue] = {"tile": 8, "order": "0 1", "wide": True}
    plain, named = Candidate(Config(tuple(knobs.items()))), Candidate(Config(tuple(knobs.items())), "3f2a")
    assert read_candidates(written(tmp_path, [knobs, knobs])) == (plain,)
    kernels = [{"config": knobs, "workload_digest": "3f2a", "trials": 9}]
    assert read_candidates(written(tmp_path, kernels)) == (named,)
    assert read_candidates(written(tmp_path, {"kernels": kernels, "model": "m"})) == (named,)
    assert read_candidates(None) == ()


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("[", "cannot be read as JSON"),
        ({"tile": 8}, "a list of Configs"),
        ([], "a list of Configs"),
        ([[1]], "candidate 1 is no object"),
        ([{"a": 1}, {"a": [1]}], "candidate 2: knob 'a' has no plain value"),
        ([{"config": {"a": 1}, "workload_digest": "zebra"}], "candidate 1 has a workload_digest"),
        ([{"a": number} for number in range(1001)], "more than the limit of 1000"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, document: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_candidates(written(tmp_path, document))
    assert "\n" not in str(caught.value)
    assert "--try tries.json" in str(caught.value)


def test_a_space_is_tried_where_the_user_says(tmp_path: Path) -> None:
    space, table = tmp_path / "space.T1.json", tmp_path / "gpu.T4.json"
    space.write_text(json.dumps(T1))
    table.write_text(json.dumps(t4()))
    best = tune_space(space, replay=table, trials=150).best
    first = (Candidate(Config((("block", 8),))), Candidate(Config(tuple(best.items()))))
    found = tune_space(space, replay=table, trials=1, candidates=first)
    assert (found.best, found.found_at) == (best, 1)
    with pytest.raises(UsageError, match="none of the 1 Configs to try lies in the space"):
        tune_space(space, replay=table, candidates=first[:1])


def test_a_network_begins_with_what_the_user_says_and_measures_it_again(tmp_path: Path) -> None:
    network = two_products(tmp_path)
    told: list[str] = []
    long = tune(network, TARGET, trials=16, database=tmp_path / "a.db", ray="none")
    kernels = long.to_json()["kernels"]
    options: Any = {"trials": len(kernels), "database": tmp_path / "b.db", "ray": "none"}
    options["on_event"] = lambda event: told.append(str(event))
    short = tune(network, TARGET, candidates=kernels, **options)
    assert [kernel.latency_us for kernel in short.kernels] == [kernel.latency_us for kernel in long.kernels]
    assert any(f"{len(kernels)} of {len(kernels)} Configs to try fit" in line for line in told)
    # The budget is spent; other Configs are measured all the same, and the answer stays.
    others = [{**kernels[0]["config"], "cores": 1}, *({"nothing": 1},)]
    again = tune(network, TARGET, candidates=others, **options)
    assert again.trials == len(kernels)
    assert again.tuned.latency_us <= short.tuned.latency_us
    assert any("of 2 Configs to try fit" in line for line in told)
    with pytest.raises(UsageError, match="--try asks for measurements"):
        TuneRequest(network, TARGET, level=1, candidates=(Candidate(Config(())),))


def test_a_job_keeps_its_candidates() -> None:
    tries = [{"config": {"tile_1": 8, "order": "0 1", "wide": True, "x": 1.5}, "workload_digest": "3f"}]
    request = JobSpec.model_validate({"target": "ascend910", "candidates": tries}).request("m")
    assert request.candidates[0].to_json() == tries[0]
    kept = read_request(request_to_json(request)).candidates
    assert [each.to_json() for each in kept] == tries
    assert [t.model_dump() for t in JobSpec.of(request, 0).candidates] == tries
    assert "candidates" not in request_to_json(JobSpec(target="ascend910").request("m"))


def test_a_share_is_a_percentage_or_a_number() -> None:
    assert read_share("2%", "--regret") == read_share("0.02", "--regret") == 0.02
    assert read_share(None, "--regret") is None
    with pytest.raises(UsageError, match="--regret 'much' is no share"):
        read_share("much", "--regret")
    with pytest.raises(UsageError, match="--regret 2 is not between 0 and 1"):
        TuneRequest(Path("m.onnx"), TARGET, regret=2.0)
    assert [TuneRequest(Path("m.onnx"), TARGET, level=level).enough for level in (2, 3)] == [None, 0.02]
    assert TuneRequest(Path("m.onnx"), TARGET, level=3, regret=0.1).enough == 0.1
