"""The bank that ships is of today: its toolchain, targets and records, and what a fresh user asks first."""

from pathlib import Path

import pytest

from benchmarks.bank import NETWORKS, network_file
from tilewright.api.cli.main import main
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.ir.graph_json import workload_from_json
from tilewright.compiler_core.target_model.file import list_targets, load_target
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.layers.bank import BANK_FILE, MOST_BANK_BYTES, read_bank
from tilewright.db.records import Best, Verification, WorkloadKind
from tilewright.db.storage.near import parse_json
from tilewright.measure.simulator.device import SimulatedDevice

STALE = "the bank is stale: make bank"
RECORDS = 4


def test_the_bank_is_of_todays_toolchain_targets_and_networks() -> None:
    bank = read_bank()
    assert BANK_FILE.stat().st_size <= MOST_BANK_BYTES
    assert bank.head.toolchain == TOOLCHAIN, STALE
    assert set(bank.head.networks) <= set(NETWORKS)
    assert set(bank.head.targets) <= set(list_targets())
    for row in bank.targets:
        assert row.digest == load_target(row.name).digest, STALE
    assert all(best.verification is not Verification.NONE for best in bank.bests)


def test_records_of_the_bank_take_what_they_say() -> None:
    """Some of them; `make bank-check` looks at all, and at their numbers."""
    bank = read_bank()
    workloads = {row.digest: row for row in bank.workloads}
    targets = {row.digest: load_target(row.name) for row in bank.targets}

    def place(best: Best) -> str:
        return digest_of([best.key.workload_digest, best.key.target_digest])

    kernels = [each for each in bank.bests if workloads[each.key.workload_digest].kind is WorkloadKind.KERNEL]
    for best in sorted(kernels, key=place)[:RECORDS]:
        body = parse_json(workloads[best.key.workload_digest].body, "a workload")
        device = SimulatedDevice(targets[best.key.target_digest])
        (measured,) = device.measure(workload_from_json(body), [best.config])
        assert measured.latency_us == best.latency_us, STALE


def test_a_fresh_install_answers_resnet50_on_ascend910(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TILEWRIGHT_LAYERS", "bank")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["lookup", str(network_file("resnet50")), "--target", "ascend910"]) == 0, STALE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("network  hit ")
    assert lines[0].endswith("[bank]")
    assert lines[-1] == f"layer    {read_bank().head}"
