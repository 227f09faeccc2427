"""`--lab`: what it takes and refuses, that a plan repeats, and that its measurements stay apart."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from tests.measure.fake_device import FakeDevice, NamedTask, config_of, latency_of
from tests.onnx_models import saved, small_cnn
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.measure.faults import FaultPlan
from tilewright.measure.lab import (
    ELSEWHERE,
    HOST_LAB,
    lab_here,
    of_worker,
    plan_text,
    read_lab,
    toolchain_of,
)
from tilewright.measure.results import Status
from tilewright.tuner.verbs.tune import tune

TASK, CONFIGS = NamedTask("a"), [config_of(number) for number in range(200)]


def test_text_and_file_say_the_same(tmp_path: Path) -> None:
    plan = FaultPlan(seed=3, noise=0.03, straggler=0.01, sickness=0.3)
    assert read_lab("noise=0.03, straggler=0.01,seed=3,sickness=0.3") == plan
    file = tmp_path / "lab.toml"
    file.write_text("seed = 3\nnoise = 0.03\nstraggler = 0.01\nsickness = 0.3\n")
    assert read_lab(str(file)) == plan == read_lab(plan_text(plan))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("nois=0.1", "--lab nois is no fault; did you mean noise"),
        ("noise=much", "--lab noise=much: give a number"),
        ("noise=-1", "give a number from 0 on"),
        ("hang=2", "fault hang has rate 2.0; a probability is needed"),
        ("double_reply=0.1", "a call has one answer"),
        ("lab.toml", "lab.toml: No such file"),
    ],
)
def test_what_no_plan_can_be_is_one_line(said: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_lab(said)


@pytest.mark.parametrize("fault", [f.name for f in fields(FaultPlan) if f.name not in ELSEWHERE])
def test_every_fault_can_be_switched_on_alone(fault: str) -> None:
    assert plan_text(read_lab(f"{fault}={7 if fault == 'seed' else 0.5}")).split(",")[-1].startswith(fault)


def test_a_lab_in_this_process_repeats_itself_and_loses_answers_only() -> None:
    plan = FaultPlan(seed=1, noise=0.1, hang=0.1, crash_after=0.1)
    first, second = (lab_here(FakeDevice(), plan).measure(TASK, CONFIGS) for _ in range(2))
    assert first == second
    lost = [answer for answer in first if answer.status is Status.LOST]
    assert 20 <= len(lost) <= 60
    measured = [answer.latency_us for answer in first if answer.status is Status.OK]
    assert measured != [latency_of(TASK, config) for config in CONFIGS][: len(measured)]
    assert lab_here(FakeDevice(), FaultPlan(seed=2, noise=0.1)).measure(TASK, CONFIGS) != first


def test_workers_live_under_the_plan_of_their_driver_or_host_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = FakeDevice()
    plain = device.describe().toolchain
    config = CONFIGS[:1]

    def said(plan: FaultPlan) -> str:
        return toolchain_of(plain, plan)

    assert of_worker(device, "") is device
    assert of_worker(device, "hosts=1").measure(TASK, config) == device.measure(TASK, config)
    monkeypatch.setenv(HOST_LAB, "sickness=3")
    for lab, plan, factor in (
        ("", FaultPlan(sickness=3.0), 3),
        ("sickness=2", FaultPlan(sickness=2.0), 2),
        ("hosts=1", FaultPlan(hosts=1.0), 3),
    ):
        made = of_worker(device, lab)
        assert made.describe().toolchain == said(plan) != plain
        assert made.measure(TASK, config)[0].latency_us == factor * latency_of(TASK, config[0])


def test_a_run_in_a_lab_repeats_itself_and_answers_no_other(tmp_path: Path) -> None:
    model, database = saved(small_cnn(), tmp_path), tmp_path / "lab.db"
    asked = ["run", str(model), "--target", "ascend310", "--trials", "24", "--ray", "none"]
    found = []
    for number in (1, 2):
        out = tmp_path / f"{number}.json"
        lab = ["--lab", "noise=0.2,crash_before=0.05,seed=7", "--db", str(tmp_path / f"{number}.db")]
        assert main([*asked, *lab, "--json", str(out)]) == 0
        found.append(json.loads(out.read_text()))
    assert [report["tuned"] for report in found] == [found[0]["tuned"]] * 2
    tune(model, "ascend310", trials=24, ray="none", lab="noise=0.2", database=database)
    clean = tune(model, "ascend310", trials=24, ray="none", database=database)
    assert clean.cache_hits == 0
    assert toolchain_of(TOOLCHAIN, FaultPlan()) != toolchain_of(TOOLCHAIN, FaultPlan(noise=0.2)) != TOOLCHAIN
