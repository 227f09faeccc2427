"""A team's server as a layer: asked over HTTP within a time that its user sets, and remembered on disk.

A server that does not answer costs its timeout once, and is then left alone for RETRY_S: what was remembered
of it answers, however old, and `trouble` says so.
"""

import http.client
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tilewright.compiler_core.errors import UsageError
from tilewright.db.layers.layer import AnswerContext
from tilewright.db.layers.remembered import Remembered
from tilewright.db.layers.selectors import SelectorRow
from tilewright.db.layers.settings import LayerSetting
from tilewright.db.layers.wire import MOST_ASKED, RangeName, Relative, Told, told_of_text
from tilewright.db.records import Best, WorkloadRow

PATH = "/v1/answers"
RETRY_S = 30.0
LARGEST_ANSWER_BYTES = 16 << 20
LARGEST_PORT = 65_535


class LayerAwayError(Exception):
    """A server gave no usable answer in time; the message is the reason, in a few words."""


@dataclass(eq=False)
class ServerLayer:
    """One server. `clock` gives seconds that never go back, for tests."""

    setting: LayerSetting
    remembered: Remembered
    clock: Callable[[], float] = time.monotonic
    trouble: str = ""
    database: None = None
    _waited_s: float = 0.0
    _left_alone_until_s: float = field(default=float("-inf"))

    @property
    def name(self) -> str:
        """As its user calls it."""
        return self.setting.name

    def bests(
        self, workloads: Sequence[str], context: AnswerContext, before_s: float | None = None
    ) -> Mapping[str, Best]:
        """What the server knows of them, asked for in one question a few hundred, or what it once said."""
        unknown = self.remembered.without_bests(workloads, context, self.setting.fresh_s)
        for first in range(0, len(unknown), MOST_ASKED):
            some = unknown[first : first + MOST_ASKED]
            told = self._ask(some, (), context)
            if told is None:
                break
            self.remembered.keep_bests(some, told.bests, context)
        return self.remembered.bests(workloads, context)

    def relatives(
        self, families: Sequence[str], context: AnswerContext
    ) -> Mapping[str, Sequence[tuple[WorkloadRow, Best]]]:
        """The same for families."""
        unknown = self.remembered.without_relatives(families, context, self.setting.fresh_s)
        for first in range(0, len(unknown), MOST_ASKED):
            some = unknown[first : first + MOST_ASKED]
            told = self._ask((), some, context)
            if told is None:
                break
            self.remembered.keep_relatives(some, told.relatives, context)
        found: dict[str, Sequence[Relative]] = self.remembered.relatives(families, context)
        return found

    def intervals(self, digest: str, symbol: str, context: AnswerContext) -> Sequence[SelectorRow]:
        """What the server knows of the range, or once said."""
        name = digest, symbol
        if self.remembered.without_ranges([name], context, self.setting.fresh_s):
            told = self._ask((), (), context, [name])
            if told is not None:
                self.remembered.keep_range(name, told.ranges.get(name, ()), context)
        return self.remembered.range_of(name, context)

    def symbols(self, context: AnswerContext) -> frozenset[str] | None:
        """None: each range is a question."""
        return None

    def close(self) -> None:
        """Close what is remembered."""
        self.remembered.close()

    def _ask(
        self,
        workloads: Sequence[str],
        families: Sequence[str],
        context: AnswerContext,
        ranges: Sequence[RangeName] = (),
    ) -> Told | None:
        """One question; None where the server is not there, which `trouble` then says.

        All questions within RETRY_S together are waited for no longer than the timeout.
        """
        began_s = self.clock()
        if began_s < self._left_alone_until_s:
            return None
        body: dict[str, Any] = {
            "target_digest": context.target_digest,
            "toolchain": context.toolchain,
            "objective": str(context.objective),
            "workloads": list(workloads),
            "families": list(families),
        }
        if ranges:
            body["ranges"] = [{"digest": digest, "symbol": symbol} for digest, symbol in ranges]
        left_s = self.setting.timeout_s - self._waited_s
        try:
            if left_s <= 0.0:
                raise LayerAwayError(f"it took longer than {self.setting.timeout_s:g} s for all questions")
            told = told_of_text(_within(left_s, self.setting, json.dumps(body)), context)
        except (LayerAwayError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            self.trouble = f"{self.setting.place} {reason}{self.remembered.age_text}"
            self._left_alone_until_s = self.clock() + RETRY_S
            self._waited_s = 0.0
            return None
        self._waited_s += self.clock() - began_s
        self.trouble = ""
        return told


def _within(seconds: float, setting: LayerSetting, body: str) -> str:
    """The server's answer to `body`; LayerAwayError after `seconds`, whatever hangs.

    Names are resolved and connections made in a thread of its own, which is left behind when it is late: no
    timeout of a socket covers the resolver, or a server that sends a byte a second.
    """
    answers: queue.SimpleQueue[str | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(_post(seconds, setting, body))
        except (LayerAwayError, OSError, http.client.HTTPException, ValueError) as error:
            answers.put(error)

    threading.Thread(target=work, name=f"layer {setting.name}", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise LayerAwayError(f"does not answer within {setting.timeout_s:g} s") from None
    if isinstance(answer, TimeoutError):
        raise LayerAwayError(f"does not answer within {setting.timeout_s:g} s") from None
    if isinstance(answer, LayerAwayError):
        raise answer
    if isinstance(answer, BaseException):
        raise LayerAwayError(f"does not answer: {answer}") from None
    return answer


def _post(seconds: float, setting: LayerSetting, body: str) -> str:
    until_s = time.monotonic() + seconds
    where = urlsplit(setting.place)
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = kind(where.hostname or "", where.port, timeout=seconds)
    headers = {"Content-Type": "application/json"}
    key = os.environ.get(setting.key_variable, "") if setting.key_variable else ""
    if key:
        headers["Authorization"] = f"Bearer {key}"
    responses: list[http.client.HTTPResponse] = []
    try:
        connection.request("POST", where.path.rstrip("/") + PATH, body.encode(), headers)
        answer = connection.getresponse()
        responses.append(answer)
        if answer.status != http.client.OK:
            raise LayerAwayError(f"says {answer.status} {answer.reason[:40]}")
        content = bytearray()
        while part := answer.read1(1 << 16):
            content += part
            if len(content) > LARGEST_ANSWER_BYTES:
                raise LayerAwayError(f"sends more than {LARGEST_ANSWER_BYTES >> 20} MiB")
            if time.monotonic() > until_s:
                raise LayerAwayError(f"does not answer within {setting.timeout_s:g} s")
    finally:
        for each in responses:
            each.close()
        connection.close()
    return content.decode("utf-8")


def check_url(setting: LayerSetting) -> None:
    """UsageError where the URL of a server cannot be one."""
    try:
        where = urlsplit(setting.place)
        good = bool(where.hostname) and 0 < (where.port or 1) <= LARGEST_PORT
    except ValueError:
        good = False
    if not good or where.username or where.query or where.fragment:
        raise UsageError(
            f"layer {setting.name}: {setting.place[:80]!r} is no URL of a server, as http://host:8757"
        )
