"""The search bench: rows, figures and goals on a made-up table and a small kernel; peers keep the rules."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import bench, ground_truth, studies
from benchmarks.search.allocator import ALLOCATORS, KERNELS, REGRETS, bench_allocator
from benchmarks.search.arena import SearchArena, case_arena
from benchmarks.search.bench import bench_search
from benchmarks.search.figures import (
    ratio_with_interval,
    regret_at,
    stronger_form,
    summary_of,
    trials_to,
    verdict,
    with_best_known,
)
from benchmarks.search.ground_truth import find_optimum, load_truth, make_truth, truth_of
from benchmarks.search.kernel_tasks import CASES
from benchmarks.search.methods import ALL, OWN, PEERS, run_method
from benchmarks.search.outlook import bench_outlook, source_of
from benchmarks.search.peers.peer import run_peer
from tests.tuner.landscapes import T1, t4
from tilewright.compiler_core.errors import UsageError
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import distinct, sample
from tilewright.tuner.kernel.problem import History

SMALL = next(case for case in CASES if case.key == "tpu_v4i/resnet50_global_average")


def quiet(line: str) -> None:
    pass


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    space, table = tmp_path / "space.T1.json", tmp_path / "gpu.T4.json"
    space.write_text(json.dumps(T1))
    table.write_text(json.dumps(t4()))
    return table, space


def test_a_table_is_answered_for_at_every_budget(files: tuple[Path, Path]) -> None:
    table, space = files
    found = bench_search([table], space, quick=True, methods=(OWN, "prior", "random"), say=quiet)
    assert {(row["task"], row["method"], row["seed"]) for row in found["rows"]} == {
        ("gpu", method, seed) for method in (OWN, "random") for seed in range(2)
    }
    for row in found["rows"]:
        values = [us for _, us in row["improvements"]]
        assert values == sorted(values, reverse=True)
        assert values[-1] >= row["optimum_us"] * (1.0 - 1e-12)
    summary = found["summary"]
    assert 1.0 <= summary[f"gpu/{OWN}/100"]["value"] <= summary["gpu/random/100"]["value"]
    assert summary[f"gpu/{OWN}/ms_per_trial"]["goal"] == 10.0
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_broken_run_resumes(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, space = files
    journal = tmp_path / "rows.jsonl"
    ran: list[tuple[str, int]] = []
    run_row = bench.run_row

    def counted(task: bench.SearchTask, method: str, seed: int) -> bench.Row:
        ran.append((method, seed))
        return run_row(task, method, seed)

    monkeypatch.setattr(bench, "run_row", counted)
    bench_search([table], space, quick=True, seeds=1, methods=("random",), journal=journal, say=quiet)
    again = bench_search([table], space, quick=True, seeds=2, methods=("random",), journal=journal, say=quiet)
    assert ran == [("random", 0), ("random", 1)]
    assert [row["seed"] for row in again["rows"]] == [0, 1]


@pytest.mark.parametrize("method", ALL)
def test_every_method_keeps_the_rules(method: str) -> None:
    asked: list[Rows] = []

    class Watched(SearchArena):
        def measure(self, task, configs):  # type: ignore[no-untyped-def]
            asked.extend(self.problem.space.encode(config) for config in configs)
            return super().measure(task, configs)

    plain = case_arena(SMALL)
    arena = Watched(plain.key, plain.problem, plain.device)
    latencies = run_method(arena, method, 1, 40)
    rows = np.array(asked, dtype=np.int32)
    assert len(latencies) == len(rows) == 40
    assert len(distinct(rows)) == 40
    assert arena.problem.space.feasible(rows).all()


@pytest.mark.parametrize("peer", ["tpe", "cma_es", "metaschedule_16", "pattern_search_32"])
def test_peers_learn(peer: str) -> None:
    latencies = run_method(case_arena(SMALL), peer, 2, 120)
    assert np.median(latencies[-20:]) < np.median(latencies[:20])


def test_drafted_peers_start_from_the_best_drafts() -> None:
    arena = case_arena(SMALL)
    drafted = arena.drafted
    assert len(drafted) == 8
    assert run_method(arena, "tpe+draft", 0, 8) == pytest.approx(arena.latencies_us(drafted))
    draft_log, space = arena.problem.draft_log, arena.problem.space
    assert draft_log is not None
    chance = sample(space, 500, np.random.default_rng(3))
    assert draft_log(drafted)[0] <= draft_log(chance).min()


def test_a_peer_that_has_no_more_ends_the_run() -> None:
    class Silent:
        def ask(self, history: History) -> Rows:
            return history.rows[:0]

    arena = case_arena(SMALL)
    assert len(run_peer(arena, Silent(), 20, arena.drafted)) == 8


def row(method: str, seed: int, improvements: list[list[float]], task: str = "t/skewed") -> dict[str, object]:
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "budget": 128,
        "optimum_us": 10.0,
        "improvements": improvements,
        "ms_per_trial": 1.0,
    }


def test_trials_and_regrets_by_hand() -> None:
    run = row(OWN, 0, [[2, 20.0], [5, 10.5], [9, 10.1]])
    assert [regret_at(run, index) for index in (1, 2, 8, 128)] == pytest.approx([np.inf, 1.0, 0.05, 0.01])
    assert [trials_to(run, r) for r in (0.05, 0.02, 0.001)] == [5, 9, None]


def test_a_run_below_the_known_optimum_becomes_the_optimum() -> None:
    rows = with_best_known([row(OWN, 0, [[1, 9.0]]), row("random", 0, [[1, 18.0]])])
    assert [r["optimum_us"] for r in rows] == [9.0, 9.0]


def test_the_headline_is_against_the_stronger_form() -> None:
    rows = [
        *(row(OWN, s, [[4, 10.0]]) for s in range(3)),
        *(row("tpe", s, [[60 + s, 10.0]]) for s in range(3)),
        *(row("tpe+draft", s, [[16, 10.0]]) for s in range(3)),
        *(row("metaschedule", s, [[20, 10.0]]) for s in range(3)),
        *(row("metaschedule+draft", s, [[1, 30.0]]) for s in range(3)),
    ]
    assert stronger_form(rows, "tpe") == "tpe+draft"
    figures = summary_of(rows)
    assert figures["skewed/t5_over/tpe+draft"]["value"] == 0.25
    best = figures["skewed/t5_over_best_peer"]
    assert (best["against"], best["value"], best["ok"]) == ("tpe+draft", 0.25, True)
    over_default = figures["skewed/t5_over/metaschedule"]
    assert (over_default["value"], over_default["goal"], over_default["ok"]) == (0.2, 0.25, True)
    assert "surely fewer" in verdict(rows)
    worse = [*rows, *(row(OWN, s, [[100, 10.0]], "u/skewed") for s in range(3))]
    worse += [row("tpe+draft", s, [[2, 10.0]], "u/skewed") for s in range(3)]
    assert not summary_of(worse)["skewed/t5_over_best_peer"]["ok"]


def test_the_interval_of_a_ratio_holds_it() -> None:
    own = {"a": np.array([1.0, 3.0]), "b": np.array([2.0])}
    other = {"a": np.array([8.0, 8.0]), "b": np.array([4.0])}
    value, low, high = ratio_with_interval(own, other)
    assert value == pytest.approx(4.0 / 12.0)
    assert low <= value <= high
    assert low < high


def test_every_case_has_its_optimum_on_both_chips() -> None:
    known = load_truth()
    assert len(CASES) >= 24
    assert len({case.target for case in CASES}) == 4
    assert {f"{case.key}/{chip}" for case in CASES for chip in ("nominal", "skewed")} >= set(known)
    for truth in known.values():
        assert truth.trials >= 50_000 or truth.exhaustive


def test_siblings_are_other_kernels_of_the_same_target() -> None:
    for case in CASES:
        digests = {task.digest for task in case.sibling_tasks()}
        assert len(digests) >= 2
        assert case.task().digest not in digests


def test_an_optimum_is_found_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_truth, "FILE", tmp_path / "truth.json")
    monkeypatch.setattr(ground_truth, "EXHAUSTIVE", 0)
    arena = case_arena(SMALL)
    searched = find_optimum(arena, 600)
    assert not searched.exhaustive
    assert searched.trials == 600
    make_truth(quiet, SMALL.key, trials=300)
    assert truth_of(SMALL, "skewed").trials == 300
    with pytest.raises(UsageError, match="no task is called"):
        make_truth(quiet, "nothing")


def test_an_optimum_of_another_toolchain_is_found_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_truth, "TOOLCHAIN", "other")
    monkeypatch.setattr(ground_truth, "FEWER", 400)
    assert truth_of(SMALL, "skewed").trials == 400


def test_the_studies_answer_for_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("RECORDED", 20),
        ("OVERHEAD_TRIALS", 40),
        ("OVERHEAD_AT", (20, 40)),
    ):
        monkeypatch.setattr(studies, name, value)
    monkeypatch.setattr(bench, "QUICK_BUDGET", 40)
    methods = ("warm", "unseen", *studies.STUDIES)
    found = bench_search(quick=True, tasks=[SMALL.key], methods=methods, seeds=1, say=quiet)
    assert [row["method"] for row in found["rows"]] == list(methods)
    summary = found["summary"]
    assert {"noise/regret_median", "skewed/warm/t5_mean"} <= set(summary)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_target_that_a_kernel_does_not_fit_has_no_records_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "RECORDED", 1)
    monkeypatch.setattr(studies, "_SEARCHED", {})
    targets = ("ascend910", "ethos_u55_256")
    monkeypatch.setattr(studies, "CASES", [case for case in CASES if case.target in targets])
    case = next(case for case in CASES if case.key == "ascend910/bert_base_attention")
    assert len(case.tasks_on("ethos_u55_256")) == 3
    records = studies.unseen_records(case)
    assert len(records) == 2
    assert all(len(each.latency_log) for each in records)


def test_curves_are_drawn(tmp_path: Path, files: tuple[Path, Path]) -> None:
    table, space = files
    bench_search([table], space, quick=True, seeds=1, methods=("random",), curves=tmp_path, say=quiet)
    assert (tmp_path / "search_gpu.svg").read_text().startswith("<?xml")


def test_unknown_names_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="'nobody' is unknown"):
        bench_search(methods=("nobody",))
    with pytest.raises(UsageError, match="--space"):
        bench_search([files[0]])
    assert "random" in PEERS


def test_known_searches_are_judged_by_those_of_other_devices() -> None:
    found = bench_outlook(quick=True, say=quiet)
    stops = [row for row in found["rows"] if "stopped" in row]
    assert len(stops) == 8
    assert {"stop/coverage", "stop/saved", "price/kernel/coverage"} <= {*found["summary"]}
    assert all(row["trials"] <= row["budget"] and row["left"] >= 0.0 for row in stops)
    assert source_of("vela/ethos-u55-256_conv3x3_7_512_512") == "vela ethos-u55-256"
    assert source_of("ascend910/gpt2_softmax/skewed") == "ascend910 skewed"
    assert source_of("convolution_a100") == "convolution_a100"


def test_allocators_play_the_same_networks_and_none_beats_the_oracle_by_far() -> None:
    found = bench_allocator(quick=True, say=quiet)
    by_game: dict[tuple[str, int], dict[str, list[int]]] = {}
    for row in found["rows"]:
        by_game.setdefault((row["task"], row["seed"]), {})[row["method"]] = row["trials"]
        assert len(row["trials"]) == len(REGRETS)
        assert row["trials"] == sorted(row["trials"])
        assert row["trials"][0] >= KERNELS
    assert all(game.keys() == ALLOCATORS.keys() for game in by_game.values())
    assert all(found["summary"][f"over_oracle/to_{regret:g}"]["value"] > 1.0 for regret in REGRETS)
