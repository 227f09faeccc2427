"""The bank is filled from runs, and every record of it is measured and judged again."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bank as filling
from tests.onnx_models import saved, small_cnn
from tilewright.compiler_core.errors import UsageError
from tilewright.db.layers.bank import read_bank
from tilewright.db.storage.session import open_database


def test_a_bank_is_filled_goes_on_and_is_checked_record_by_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(small_cnn(), tmp_path)
    monkeypatch.setattr(filling, "network_file", lambda name: model)
    work, file = tmp_path / "work.db", tmp_path / "bank.jsonl.xz"
    where = ["--targets", "ascend910", "--work", str(work), "--file", str(file)]
    assert filling.main(["fill", "--networks", "small", "--trials", "4", *where]) == 0
    assert "small on ascend910: " in capsys.readouterr().err
    assert filling.main(["fill", "--networks", "small", "--trials", "4", *where]) == 0
    assert "small on ascend910: known" in capsys.readouterr().err
    bank = read_bank(file)
    assert (bank.head.networks, bank.head.targets, bank.head.pairs) == (("small",), ("ascend910",), 1)
    kept = filling.write(["small"], 4, empty_work(tmp_path), file)
    assert (kept.bests, kept.head.pairs) == (bank.bests, 1), "what the file has stays"
    assert filling.main(["check", *where]) == 0
    assert f"{len(bank.bests)} of {len(bank.bests)} records hold" in capsys.readouterr().err
    faster = replace(bank.bests[0], latency_us=bank.bests[0].latency_us * 0.999)
    (objection,) = filling.check(replace(bank, bests=(faster,)), ["ascend910"], 1.0)
    assert objection.startswith(
        f"ascend910 {faster.key.workload_digest[:16]}: claimed {faster.latency_us} us"
    )
    old = replace(bank, head=replace(bank.head, toolchain="0"))
    assert filling.check(old, ["ascend910"], 1.0) == ["the bank is of toolchain 0, today's is 3"]


def empty_work(folder: Path) -> Path:
    open_database(folder / "empty.db").close()
    return folder / "empty.db"


def test_networks_come_from_the_onnx_package() -> None:
    assert all(filling.network_file(name).is_file() for name in filling.NETWORKS)
    with pytest.raises(UsageError, match="network 'lenet' is none of squeezenet"):
        filling.network_file("lenet")
