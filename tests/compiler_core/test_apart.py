"""Work in a process of its own: what it sends arrives, however it ends, and how it ends is one line."""

import os
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tilewright.compiler_core.checking import apart as module
from tilewright.compiler_core.checking.apart import LostError, Send, apart
from tilewright.compiler_core.errors import ModelError


def _children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as told:
        return set(told.read().split())


def test_what_is_sent_arrives_in_order() -> None:
    def work(send: Send) -> None:
        for number in range(1000):
            send({"number": number, "text": "x" * number})

    assert [told["number"] for told in apart(work)] == list(range(1000))


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _abort() -> None:
    os.abort()


def _leave() -> None:
    os._exit(3)


def _never_end() -> None:
    while True:
        pass


def _eat() -> None:
    held = []
    while True:
        held.append(bytearray(1 << 26))


def _wait() -> None:
    time.sleep(100.0)


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (_crash, "crashed (SIGSEGV)"),
        (_abort, "crashed (SIGABRT)"),
        (_leave, "ended without a word"),
        (_never_end, "took more than 1 s of processor time"),
        (_eat, "ran out of memory"),
        (_wait, "took more than 2 s"),
    ],
)
def test_how_it_ends_is_one_line_and_what_came_before_is_kept(
    do: Callable[[], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP_CPU_S", 1)
    monkeypatch.setattr(module, "STEP_WALL_S", 2 if do is _wait else 60)
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 28)
    monkeypatch.setattr(module, "LEAST_BYTES", 1 << 28)
    before = _children()

    def work(send: Send) -> None:
        send({"so far": 1})
        do()

    told: list[dict[str, Any]] = []
    with pytest.raises(LostError) as error:
        told.extend(apart(work))
    assert told == [{"so far": 1}]
    assert str(error.value) == said
    assert _children() == before


def test_what_it_raises_is_raised_here() -> None:
    def refuse(send: Send) -> None:
        raise ModelError("no such node")

    def err(send: Send) -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ModelError, match="no such node"):
        list(apart(refuse))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        list(apart(err))


def test_who_stops_listening_ends_it() -> None:
    def endless(send: Send) -> None:
        for number in count():
            send({"number": number})

    before = _children()
    told = apart(endless)
    assert next(told) == {"number": 0}
    told.close()
    assert _children() == before
