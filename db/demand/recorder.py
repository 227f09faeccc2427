"""Logging demand off the path of a lookup: a lookup appends to a queue, a thread adds up and writes.

note    0.3 us; never waits, never fails
flush   every few seconds, when a batch is full, and at the end of the process; durable when it returns
"""

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tilewright.compiler_core.errors import RecordError
from tilewright.db.demand.entries import Asked, Demandable, Question
from tilewright.db.demand.file import DemandFile

log = logging.getLogger("tilewright.demand")
VARIABLE = "TILEWRIGHT_DEMAND"
"""Names the file to log to; without it nothing is logged outside of a service."""
MOST_WAITING = 1 << 16
BATCH = 1 << 12
MOST_SUBJECTS = 1 << 12
EVERY_S = 5.0


class Recorder:
    """Logs lookups into a file. `note` may be called by any thread.

    At most `most_waiting` lookups wait for the thread that writes; more are counted, not logged. With
    `sample` n one of n lookups is logged, and counts as n.
    """

    def __init__(
        self,
        path: str | Path,
        sample: int = 1,
        most_waiting: int = MOST_WAITING,
        every_s: float = EVERY_S,
        open_file: Callable[[str | Path], DemandFile] = DemandFile,
    ) -> None:
        self.path = path
        self._open = open_file
        self._file: DemandFile | None = None
        self._most, self._every_s, self._sample, self._turn = most_waiting, every_s, sample, 0
        self._batch = min(BATCH, most_waiting)
        self._waiting: deque[tuple[Question, float]] = deque()
        self._subjects: dict[str, Demandable] = {}
        self._known: set[str] = set()
        self._unlogged = 0
        self._trouble = ""
        self._saving = threading.Lock()
        self._wake = threading.Event()
        self._over = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        os.register_at_fork(after_in_child=self._forked)

    def note(self, asked: Question, cost_us: float) -> None:
        """One lookup as the fields of Asked, and the latency of what was served in us (0 where unknown)."""
        if self._sample > 1:
            self._turn += 1
            if self._turn % self._sample:
                return
        waiting = self._waiting
        if len(waiting) >= self._most:
            self._unlogged += self._sample
            return
        waiting.append((asked, cost_us))
        if len(waiting) == self._batch:
            self._wake.set()
        if self._thread is None and not self._over:
            self._start()

    def describe(self, digest: str, about: Callable[[], Demandable]) -> None:
        """The facts that tuning needs of a workload that missed; `about` is called once a workload."""
        if digest not in self._known and len(self._known) < MOST_SUBJECTS:
            self._known.add(digest)
            self._subjects[digest] = about()

    def flush(self) -> None:
        """Write what was noted until now. RecordError where the file does not take it; it is kept then."""
        with self._saving:
            sums: dict[Question, tuple[int, float]] = {}
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            for asked, cost_us in taken:
                count, cost = sums.get(asked, (0, 0.0))
                sums[asked] = count + self._sample, cost + cost_us * self._sample
            subjects, self._subjects = self._subjects, {}
            unlogged, self._unlogged = self._unlogged, 0
            if not sums and not subjects and not unlogged:
                return
            try:
                if self._file is None:
                    self._file = self._open(self.path)
                self._file.add({Asked(*asked): of for asked, of in sums.items()}, subjects, unlogged)
            except RecordError:
                self._waiting.extendleft(reversed(taken))
                self._subjects = {**subjects, **self._subjects}
                self._unlogged += unlogged
                raise

    def close(self) -> None:
        """Write the rest, and end."""
        self._over = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(10.0)
        self._flush_or_say()
        with self._saving:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._write, name="demand", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        while not self._over:
            self._wake.wait(self._every_s)
            self._wake.clear()
            self._flush_or_say()

    def _flush_or_say(self) -> None:
        try:
            self.flush()
            self._trouble = ""
        except RecordError as error:
            if str(error) != self._trouble:  # once, not every few seconds and at the end again
                self._trouble = str(error)
                log.warning("demand was not logged: %s", error)

    def _forked(self) -> None:
        """What waits belongs to the parent, and its thread and file are not ours."""
        self._waiting, self._subjects, self._unlogged = deque(), {}, 0
        self._saving, self._starting = threading.Lock(), threading.Lock()
        self._wake, self._thread, self._file = threading.Event(), None, None


@cache
def recorder_of_process() -> Recorder | None:
    """The recorder that TILEWRIGHT_DEMAND asked for at the first lookup; it writes the rest when the process
    ends.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    found = Recorder(path)
    atexit.register(found.close)
    return found
