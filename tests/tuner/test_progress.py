"""What those who watch see: the table of kernels, and lines where nobody sits at a terminal."""

from dataclasses import replace

import pytest

from tilewright.tuner.network.events import Counted, Measured, Phase
from tilewright.tuner.verbs.progress import MOST_ROWS, Board, watching

FIRST = Measured(
    16, 64, "conv1 + relu", 4.0, 90.0, 20.0, "us", 40.0, 0.1, 0.2,
    digest="a", calls=2, kernel_trials=16, kernel_bound_us=1.5,
)  # fmt: skip
OTHER = replace(FIRST, trials=32, kernel="fc", digest="b", calls=1, kernel_best_us=20.0)


def test_the_table_has_a_row_a_kernel_the_slowest_first() -> None:
    board = Board()
    for event in (FIRST, OTHER, replace(FIRST, trials=48, kernel_best_us=3.0, kernel_trials=32)):
        board.hear(event)
    assert board.rows() == [
        ("fc", "1", "16", "20.00", "1.50", "50.0%"),
        ("conv1 + relu", "2", "32", "3.00", "1.50", "15.0%"),
    ]


def test_the_table_is_bounded_and_forgets_what_is_merged_away() -> None:
    board = Board()
    for number in range(3 * MOST_ROWS):
        board.hear(replace(FIRST, digest=str(number)))
    assert len(board.rows()) == MOST_ROWS
    for number in range(3 * MOST_ROWS):
        board.hear(replace(FIRST, digest=str(number), calls=0))
    assert board.rows() == []


def test_lines_count_while_planning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("tilewright.tuner.verbs.progress.time.monotonic", lambda: float(next(clock)))
    with watching() as listener:
        listener(Phase("plan", "which ops run together"))
        for done in range(1, 9):
            listener(Counted("kernels priced", done))
        listener(FIRST)
    lines = capsys.readouterr().err.splitlines()
    counted = [line for line in lines if line.endswith("kernels priced")]
    assert lines[0] == "plan: which ops run together"
    assert 1 <= len(counted) < 8
    assert lines[-1].startswith("measured 16/64")


def test_a_terminal_shows_both(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with watching() as listener:
        listener(Phase("plan", "[red]which[/red]"))
        listener(Counted("kernels priced", 7))
        listener(FIRST)
        listener(replace(OTHER, kernel="[bold]x[/bold]"))
    shown = capsys.readouterr().err
    assert "[red]which[/red]" in shown
    assert "[bold]x[/bold]" in shown
    assert "share" in shown
