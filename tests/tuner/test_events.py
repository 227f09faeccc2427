"""What a run tells those who watch: where it stands, what it expected, who measured."""

from pathlib import Path

from tests.onnx_models import saved, two_parts
from tilewright.db.service.workers import Workers, WorkerState
from tilewright.db.storage.session import open_database
from tilewright.tuner.network.events import Event, Measured, Phase
from tilewright.tuner.verbs.tune import tune


def test_a_small_run_shows_the_best_so_far_too(tmp_path: Path) -> None:
    heard: list[Event] = []
    path, database = saved(two_parts(), tmp_path), tmp_path / "tuning.db"
    report = tune(path, "ascend310", trials=8, database=database, ray="none", on_event=heard.append)
    bests = [event.best for event in heard if isinstance(event, Measured) and event.best is not None]
    assert report.default.latency_us > bests[-1] >= report.tuned.latency_us
    assert [event.detail for event in heard if isinstance(event, Phase)][-1] == report.standing


def test_a_run_says_what_it_expects_and_who_measures(tmp_path: Path) -> None:
    heard: list[Event] = []
    report = tune(
        saved(two_parts(), tmp_path),
        "ascend310",
        trials=28,
        database=tmp_path / "tuning.db",
        ray="none",
        on_event=heard.append,
    )
    measured = [event for event in heard if isinstance(event, Measured)]
    assert measured[-1].trials == 28
    bests = [event.best for event in measured if event.best is not None]
    assert len(bests) == len(measured), "the default is measured before anything else"
    assert bests == sorted(bests, reverse=True), "what is told never rises"
    assert bests[0] == report.default.latency_us, "too early for anything else"
    assert bests[-1] >= report.tuned.latency_us, "and what is published is no worse"
    assert {event.bound for event in measured} == {report.bound.latency_us}
    assert measured[0].predicted_us is None, "nothing was measured that a model could have learned from"
    predicted = [event.predicted_us for event in measured if event.predicted_us is not None]
    assert predicted
    assert all(us > 0 for us in predicted)
    opened = open_database(tmp_path / "tuning.db", read_only=True)
    (worker,) = Workers(opened).list()
    opened.close()
    assert (worker.name, worker.state) == ("serial", WorkerState.HEALTHY)
    assert worker.device
