"""Records pushed to a service and pulled from it: claims, until a trusted key's word holds when measured."""

import dataclasses
from pathlib import Path

import pytest

from tests.api.service import running_server, settings_for
from tests.onnx_models import saved, small_cnn
from tilewright.api.app import create_app
from tilewright.api.cli.main import main
from tilewright.db.exchange.entries import Entry, StoredRun, StoredSignature, StoredTrial, identity
from tilewright.db.exchange.export import entries_of
from tilewright.db.exchange.load import load_entries
from tilewright.db.repository import Repository
from tilewright.db.sharing.signing import SigningKey, read_key
from tilewright.db.sharing.trust import Trust, TrustedKey
from tilewright.db.storage.session import open_database
from tilewright.measure.results import Measurement
from tilewright.tuner.verbs.share import vouch_all
from tilewright.tuner.verbs.tune import tune

LIAR = SigningKey(bytes(range(32)))


def lying(entries: list[Entry], factor: float, bound: float = 1.0) -> list[Entry]:
    """The same records by a signer whose times are so much shorter."""
    runs = {entry.asked.uid: entry for entry in entries if isinstance(entry, StoredRun)}
    changed: list[Entry] = []
    for entry in entries:
        if isinstance(entry, StoredSignature):
            continue
        if isinstance(entry, StoredTrial) and entry.trial.measurement.latency_us is not None:
            measured = entry.trial.measurement
            shorter = dataclasses.replace(
                measured,
                latency_us=(measured.latency_us or 0.0) * factor,
                samples_us=tuple(each * factor for each in measured.samples_us),
            )
            assert isinstance(shorter, Measurement)
            bound_us = None if entry.trial.bound_us is None else entry.trial.bound_us * bound
            trial = dataclasses.replace(entry.trial, measurement=shorter, bound_us=bound_us)
            entry = dataclasses.replace(entry, trial=trial)
        changed.append(entry)
        if isinstance(entry, StoredTrial):
            changed.append(LIAR.sign(runs[entry.trial.run], entry))
    return sorted(changed, key=identity)


def test_records_travel_with_the_word_of_who_measured_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    model, lab = saved(small_cnn(), tmp_path), str(tmp_path / "lab.db")
    tune(model, "ascend910", trials=4, database=lab, ray="none")
    assert main(["keys", "make", "lab"]) == 0
    public = capsys.readouterr().out.split()[0]
    assert public == read_key("lab").signer
    database = open_database(tmp_path / "server.db")
    with running_server(create_app(settings_for(tmp_path / "server.db"), database)) as url:
        assert main(["db", "push", url, "--sign", "lab", "--db", lab]) == 0
        assert "entries new there, 0 known" in capsys.readouterr().out
        for _ in range(2):
            assert main(["db", "pull", url, "--db", str(tmp_path / "here.db")]) == 0
        assert "0 entries new" in capsys.readouterr().out
    database.close()
    here = open_database(tmp_path / "here.db")
    assert list(Repository(here).all_best()) == []
    where = ["--db", str(tmp_path / "here.db")]
    assert main(["keys", "devices", *where]) == 0
    device = capsys.readouterr().out.split()[0]
    trusted = ["keys", "trust", public, "the lab", "--device", device, "--recheck", "30%", *where]
    assert main(trusted) == 0
    out = capsys.readouterr().out
    assert "the lab is trusted, 30% of its records are measured again" in out
    assert "refused" not in out
    first = open_database(lab)
    assert list(Repository(here).all_best()) == list(Repository(first).all_best()) != []
    assert main(["lookup", str(model), "--target", "ascend910", *where]) == 0
    assert main(["db", "vouch", *where]) == 0
    assert "0 trials more count" in capsys.readouterr().out
    assert main(["keys", "list", *where]) == 0
    assert f"{public} the lab" in capsys.readouterr().out
    assert main(["keys", "revoke", "the lab", *where]) == 0
    assert "records count no more" in capsys.readouterr().out
    assert list(Repository(here).all_best()) == []
    here.close()
    # Whoever signs what is not so is found out by the bound, or by a measurement of one of them.
    honest = list(entries_of(first))
    first.close()
    for name, factor, bound, share in (("bound", 1e-3, 1e-4, 0.0), ("time", 0.9, 0.5, 0.01)):
        path = tmp_path / f"{name}.db"
        victim = open_database(path)
        load_entries(victim, lying(honest, factor, bound), "liar")
        Trust(victim).trust(TrustedKey(LIAR.signer, "liar", share=share))
        (found,) = vouch_all(path, draw=lambda number, of: list(range(number)))
        assert found.counted == 0, found
        assert list(Repository(victim).all_best()) == []
        if name == "bound":
            assert "less than the bound of" in found.reason or "names a bound of" in found.reason
        victim.close()
