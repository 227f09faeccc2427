"""Layers are asked in order, each answer names its layer, and a layer that is away costs its timeout once."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.db.samples import TARGET, TOOLCHAIN, filled, workload
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.db.answering.lookup import AnswerRequest, Hit, Match, Miss, lookup_many
from tilewright.db.layers.bank import BankHead, bank_head, bank_of, open_bank, read_bank, write_bank
from tilewright.db.layers.file import FileLayer
from tilewright.db.layers.layer import AnswerContext, Layers, RecordsLayer
from tilewright.db.layers.opening import OWN, open_layers
from tilewright.db.layers.remembered import Remembered
from tilewright.db.layers.server import RETRY_S, ServerLayer
from tilewright.db.layers.settings import LayerSetting, layer_settings
from tilewright.db.layers.wire import Told, told_of_text, told_to_json
from tilewright.db.records import WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database

ASKED = AnswerRequest(TARGET.digest, TOOLCHAIN)
CONTEXT = AnswerContext(TARGET.digest, TOOLCHAIN)
ROWS = [workload(name) for name in ("first", "second", "third")]


def made(path: Path, rows: list[WorkloadRow]) -> Database:
    database = open_database(path)
    filled(Repository(database), rows)
    return database


def test_the_first_layer_that_knows_answers_and_names_itself(tmp_path: Path) -> None:
    own, team, bank = (
        made(tmp_path / f"{name}.db", rows)
        for name, rows in (("own", ROWS[:1]), ("team", ROWS[:2]), ("bank", ROWS))
    )
    stack = Layers(
        (
            RecordsLayer(OWN, Repository(own)),
            FileLayer.of("team", team),
            FileLayer.of("bank", bank),
        )
    )
    unknown = workload("fourth")
    answers = lookup_many(stack, [*ROWS, unknown], ASKED)
    assert [each.layer if isinstance(each, Hit) else "" for each in answers] == [OWN, "team", "bank", ""]
    assert isinstance(answers[3], Miss)
    assert answers[3].nearest is not None
    assert stack.best(CONTEXT.key_of(ROWS[1].digest)) == (answers[1].best, "team")  # type: ignore[union-attr]
    stack.close()


def test_an_exact_answer_of_a_later_layer_comes_before_a_relative_of_the_first(tmp_path: Path) -> None:
    asked, relative = workload("first"), workload("first", placement=("LLB", "LLB"))
    own, bank = made(tmp_path / "own.db", [relative]), made(tmp_path / "bank.db", [asked])
    alone = Layers((RecordsLayer(OWN, Repository(own)),))
    both = Layers((*alone.layers, FileLayer.of("bank", bank)))
    request = replace(ASKED, other_placement=True)
    for stack, layer, match in ((alone, OWN, Match.OTHER_PLACEMENT), (both, "bank", Match.EXACT)):
        (answer,) = lookup_many(stack, [asked], request)
        assert isinstance(answer, Hit)
        assert (answer.layer, answer.match) == (layer, match)
    # What other layers knew at an earlier moment is not known here.
    (answer,) = lookup_many(both, [asked], replace(ASKED, before_s=2e9))
    assert isinstance(answer, Miss)
    both.close()


def test_a_file_that_others_write_to_is_read_anew(tmp_path: Path) -> None:
    writer = made(tmp_path / "team.db", ROWS[:1])
    layer = FileLayer.of("team", open_database(tmp_path / "team.db", read_only=True))
    assert set(layer.bests([row.digest for row in ROWS], CONTEXT)) == {ROWS[0].digest}
    filled(Repository(writer), ROWS[1:2])
    assert set(layer.bests([row.digest for row in ROWS], CONTEXT)) == {row.digest for row in ROWS[:2]}
    layer.close()


@contextmanager
def mute_server() -> Iterator[tuple[str, list[int]]]:
    """A server that takes connections and says nothing; its URL, and a number for each of them."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[int] = []
    kept = []

    def take() -> None:
        while True:
            try:
                kept.append(listener.accept()[0])
            except OSError:
                return
            seen.append(len(seen))

    threading.Thread(target=take, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.close()
        for each in kept:
            each.close()


def test_a_mute_server_is_waited_for_once_and_named(tmp_path: Path) -> None:
    now_s = 100.0
    with mute_server() as (url, seen):
        setting = LayerSetting("team", url, timeout_s=0.03)
        server = ServerLayer(setting, Remembered(url, tmp_path), clock=lambda: now_s)
        bank = made(tmp_path / "bank.db", ROWS)
        stack = Layers((server, FileLayer.of("bank", bank)))
        for _ in range(2):
            answers = lookup_many(stack, ROWS, ASKED)
            assert [each.layer for each in answers if isinstance(each, Hit)] == ["bank"] * 3
        assert stack.troubles == (f"team: {url} does not answer within 0.03 s",)
        now_s += RETRY_S
        lookup_many(stack, ROWS, ASKED)
    stack.close()
    assert len(seen) <= 2


def test_a_server_that_is_not_there_leaves_what_it_once_said(tmp_path: Path) -> None:
    setting = LayerSetting("team", "http://127.0.0.1:9", timeout_s=1.0)
    said = Remembered(setting.place, tmp_path, clock=lambda: 1000.0)
    database = made(tmp_path / "team.db", ROWS)
    bests = Repository(database).best_many([ROWS[0].digest], TARGET.digest, TOOLCHAIN)
    said.keep_bests([row.digest for row in ROWS[:2]], bests, CONTEXT)
    relative = ROWS[0], bests[ROWS[0].digest]
    said.keep_relatives([ROWS[0].family_digest], {ROWS[0].family_digest: [relative]}, CONTEXT)
    said.close()
    later = Remembered(setting.place, tmp_path, clock=lambda: 1000.0 + 7200.0)
    layer = ServerLayer(setting, later)
    found = layer.bests([row.digest for row in ROWS], CONTEXT)
    assert {digest: best.config for digest, best in found.items()} == {
        digest: best.config for digest, best in bests.items()
    }
    assert list(layer.relatives([ROWS[0].family_digest], CONTEXT)) == [ROWS[0].family_digest]
    assert "2.0 h ago answers" in layer.trouble
    # A folder that cannot be written, or is no folder, is no trouble.
    (tmp_path / "file").write_text("")
    assert not ServerLayer(setting, Remembered("x", tmp_path / "file")).bests([ROWS[0].digest], CONTEXT)
    layer.close()
    database.close()


def test_what_a_server_says_is_checked_field_by_field(tmp_path: Path) -> None:
    database = made(tmp_path / "team.db", ROWS[:1])
    bests = Repository(database).best_many([ROWS[0].digest], TARGET.digest, TOOLCHAIN)
    (best,) = bests.values()
    good = json.dumps(told_to_json(Told(bests, {ROWS[0].family_digest: [(ROWS[0], best)]})))
    told = told_of_text(good, CONTEXT)
    assert told.bests[ROWS[0].digest].config == best.config
    assert told.relatives[ROWS[0].family_digest][0][0] == ROWS[0]
    body = json.loads(good)
    for wrong in (
        "",
        "[]",
        "{}",
        '{"bests":[],"relatives":[],"more":1}',
        '{"bests":{},"relatives":[]}',
        json.dumps({**body, "relatives": [{**body["relatives"][0], "best": {}}]}),
        json.dumps({**body, "relatives": [1]}),
        *(
            json.dumps({**body, "bests": [{**body["bests"][0], name: value}]})
            for name, value in (
                ("latency_us", -1.0),
                ("latency_us", "1"),
                ("latency_us", None),
                ("config", {"tile": 1}),
                ("config", [["tile", [1]]]),
                ("config", [["tile", 1], ["tile", 2]]),
                ("workload_digest", "x"),
                ("verification", "sure"),
                ("confirmations", -1),
                ("space_digest", "0" * 64),
            )
        ),
    ):
        with pytest.raises(ValueError, match=r"."):
            told_of_text(wrong, CONTEXT)
    database.close()


def test_settings_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "tilewright"
    folder.mkdir()
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert [each.name for each in layer_settings(home)] == ["bank"]
    file = folder / "layers.toml"
    file.write_text(
        'order = ["team", "bank"]\n[team]\nurl = "http://10.0.0.7:8757"\ntimeout_s = 0.3\n'
        'key_variable = "K"\n'
        '[shared]\nfile = "/mnt/best.db"\n'
    )
    team = LayerSetting("team", "http://10.0.0.7:8757", timeout_s=0.3, key_variable="K")
    assert layer_settings(home) == (team, LayerSetting("bank", "bank"))
    assert layer_settings({"TILEWRIGHT_LAYERS": str(file)}) == layer_settings(home)
    assert layer_settings({**home, "TILEWRIGHT_LAYERS": "none"}) == ()
    named = "shared, team, a=b.db, /x/c.db, lab=https://lab"
    found = layer_settings({**home, "TILEWRIGHT_LAYERS": named, "TILEWRIGHT_SERVER": "https://lab/"})
    assert [(each.name, each.place) for each in found] == [
        ("shared", "/mnt/best.db"),
        ("team", "http://10.0.0.7:8757"),
        ("a", "b.db"),
        ("c.db", "/x/c.db"),
        ("lab", "https://lab"),
    ]
    # The key of the service goes to that service alone.
    assert [each.key_variable for each in found] == ["", "K", "", "", "TILEWRIGHT_KEY"]
    for word in ("nobody", "bank, bank", "x.db, y/x.db"):
        with pytest.raises(UsageError, match="TILEWRIGHT_LAYERS: "):
            layer_settings({**home, "TILEWRIGHT_LAYERS": word})
    for text in (
        "order = 1",
        'order = ["x"]',
        "[bank]\nfile = 'x'",
        "[a]\nfile = 'x'\nurl = 'http://y'",
        "[a]\nfile = 'x'\nport = 1",
        "[a]\nurl = 'ftp://y'",
        "[a]\nurl = 'http://y'\ntimeout_s = -1",
        "[a]\nurl = 'http://y'\ntimeout_s = nan",
        "[a]\nurl = 3",
        "a = 1",
        "]",
        "\udcff",
        "x" * (65 << 10),
    ):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(UsageError, match=r"layers\.toml"):
            layer_settings(home)


def test_the_bank_is_written_packed_and_answers_without_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made(tmp_path / "source.db", ROWS)
    head = BankHead("2026-01-31", TOOLCHAIN, ("a.onnx",), (TARGET.name,), 16, 1)
    path = tmp_path / "bank.jsonl.xz"
    size = write_bank(bank_of(source, head, (TARGET,)), path)
    assert size == path.stat().st_size
    bank = read_bank(path)
    assert bank.head == bank_head(path) == head
    assert {row.digest for row in bank.workloads} == {row.digest for row in ROWS}
    assert bank.bests == tuple(Repository(source).all_best())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        opened = open_bank(path)
        assert opened is not None
        assert tuple(Repository(opened).all_best()) == bank.bests
        opened.close()
    (unpacked,) = (tmp_path / "cache" / "tilewright").glob("bank-*.db")
    unpacked.write_bytes(b"damaged")
    opened = open_bank(path)
    assert opened is not None
    opened.close()
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    opened = open_bank(path)
    assert opened is not None
    opened.close()
    for part in (b"", path.read_bytes()[:-40], b"no bank"):
        path.write_bytes(part)
        with pytest.raises(RecordError, match="cannot be read"):
            read_bank(path)
    assert open_bank(tmp_path / "none") is None
    source.close()


def test_layers_stand_in_for_a_database_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "team.db", ROWS).close()
    team = LayerSetting("team", "team.db")
    first, stack = open_layers("tilewright.db", settings=[team, LayerSetting("gone", "no/such.db")])
    assert Path(first.name).name == "team.db"
    assert [layer.name for layer in stack.layers] == ["team", "gone"]
    assert stack.troubles == ("gone: database no/such.db: there is no such file",)
    stack.close()
    # Another name is a slip of the pen, and without any records there is nothing to answer with.
    for name, settings in (("other.db", [team]), ("tilewright.db", [LayerSetting("gone", "no/such.db")])):
        with pytest.raises(RecordError, match=f"{name}: there is no such file"):
            open_layers(name, settings=settings)
