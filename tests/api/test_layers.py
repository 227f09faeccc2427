"""A lookup with a service as its layer: answered over HTTP, then from what was remembered."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.api.service import running_server, settings_for
from tests.db.samples import TARGET, TOOLCHAIN, filled, key_of, workload
from tests.onnx_models import saved, small_cnn
from tilewright.api.app import create_app
from tilewright.api.cli.bench import bench
from tilewright.api.cli.main import main
from tilewright.db.answering.lookup import AnswerRequest, Hit, Match, lookup_many
from tilewright.db.layers.layer import AnswerContext, Layers
from tilewright.db.layers.remembered import Remembered
from tilewright.db.layers.selectors import SelectorRow, Selectors
from tilewright.db.layers.server import ServerLayer
from tilewright.db.layers.settings import LayerSetting, layer_settings
from tilewright.db.layers.wire import UNKNOWN_SPACE
from tilewright.db.records import WorkloadKind
from tilewright.db.repository import Repository
from tilewright.db.service.api_keys import ApiKeys, Scope
from tilewright.db.storage.session import Database, open_database
from tilewright.search_space.knobs import Config
from tilewright.tuner.verbs.tune import tune


def test_kernels_and_their_relatives_over_http(
    client: httpx.Client, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [workload(name) for name in ("first", "second")]
    filled(Repository(database), rows)
    asked = [*rows, workload("first", placement=("LLB", "LLB")), workload("third")]
    request = AnswerRequest(TARGET.digest, TOOLCHAIN, other_placement=True, fits=lambda row, best: True)
    setting = LayerSetting("team", str(client.base_url), timeout_s=30.0, key_variable="TEAM_KEY")
    secret = ApiKeys(database).create("tenant", "layer", [Scope.READ])[1]
    # Without its key the server says so, and nothing breaks.
    for key in ("", secret):
        monkeypatch.setenv("TEAM_KEY", key)
        stack = Layers((ServerLayer(setting, Remembered(setting.place, tmp_path)),))
        answers = lookup_many(stack, asked, request)
        found = [(each.match, each.layer) if isinstance(each, Hit) else None for each in answers]
        exact = Match.EXACT, "team"
        assert found == ([exact, exact, (Match.OTHER_PLACEMENT, "team"), None] if key else [None] * 4)
        assert stack.troubles == (() if key else (f"team: {setting.place} says 401 Unauthorized",))
        stack.close()


INTERVALS = (
    SelectorRow(1, 8, Config((("tuned_at", 8), ("tile", 16))), UNKNOWN_SPACE, 0.01, 0.02),
    SelectorRow(9, 64, Config((("tuned_at", 64), ("tile", 32))), UNKNOWN_SPACE),
)


def test_a_range_comes_over_http_and_is_remembered(
    client: httpx.Client, database: Database, tmp_path: Path
) -> None:
    row = workload("net", kind=WorkloadKind.GRAPH)
    filled(Repository(database), [row])
    Selectors(database).publish(key_of(row), "seq", INTERVALS)
    setting = LayerSetting("team", str(client.base_url), timeout_s=30.0)
    context = AnswerContext(TARGET.digest, TOOLCHAIN)
    away = ServerLayer(replace(setting, place="http://127.0.0.1:9"), Remembered(setting.place, tmp_path))
    layer = ServerLayer(setting, Remembered(setting.place, tmp_path))
    for each in (layer, away):
        assert each.intervals(row.digest, "seq", context) == INTERVALS
        assert each.intervals(row.digest, "batch", context) == ()
        each.close()


def test_a_service_asks_the_layers_that_its_operator_names(tmp_path: Path) -> None:
    rows = [workload("kernel"), workload("net", kind=WorkloadKind.GRAPH)]
    team = open_database(tmp_path / "team.db")
    filled(Repository(team), rows)
    Selectors(team).publish(key_of(rows[1]), "seq", INTERVALS)
    team.close()
    own = open_database(tmp_path / "own.db")
    asked = {"target": TARGET.digest, "toolchain": TOOLCHAIN}
    for layers, hit in (("none", False), (f"team={tmp_path / 'team.db'}", True)):
        app = create_app(replace(settings_for(tmp_path / "own.db"), layers=layers), own)
        with running_server(app) as url:
            one = httpx.get(f"{url}/v1/lookup", params={**asked, "workload": rows[0].digest}).json()
            size = httpx.get(
                f"{url}/v1/lookup", params={**asked, "model": rows[1].digest, "dim": "seq=9"}
            ).json()
        assert (one["hit"], one["layer"]) == (hit, "team" if hit else "")
        assert (size["hit"], size["layer"]) == (hit, "team" if hit else "")
    assert size["range"]["high"] == 64
    own.close()


def test_a_fresh_machine_is_answered_by_its_teams_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(small_cnn(), tmp_path)
    tune(model, "ascend910", trials=4, database=tmp_path / "team.db", ray="none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "fresh").mkdir()
    monkeypatch.chdir(tmp_path / "fresh")
    lookup = ["lookup", str(model), "--target", "ascend910"]
    database = open_database(tmp_path / "team.db")
    app = create_app(settings_for(tmp_path / "team.db"), database)
    with running_server(app) as url:
        (tmp_path / "tilewright").mkdir()
        file = tmp_path / "tilewright" / "layers.toml"
        file.write_text(f'order = ["team"]\n[team]\nurl = "{url}"\ntimeout_s = 30\nfresh_s = 0\n')
        monkeypatch.delenv("TILEWRIGHT_LAYERS")
        assert main(lookup) == 0
        there = capsys.readouterr().out.splitlines()
    assert there[0].endswith("[team]")
    assert all(line.endswith("[team]") for line in there[1:] if " exact " in line)
    # The server is away: the same answers, and a line that says so.
    assert main(lookup) == 0
    away = capsys.readouterr().out.splitlines()
    assert away[: len(there)] == there
    assert away[-1].startswith(f"layer    team: {url} does not answer")
    assert away[-1].endswith("what it said up to 0.0 h ago answers")
    monkeypatch.setenv("TILEWRIGHT_LAYERS", "bank=" + str(tmp_path / "team.db"))
    assert main(["run", str(model), "--target", "ascend910", "-O", "1"]) == 0
    shown = capsys.readouterr().out
    assert "default" in shown
    assert "tuned" in shown
    database.close()


def test_a_bench_is_answered_by_its_own_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEWRIGHT_LAYERS", "bank")
    bench()
    assert layer_settings() == ()
