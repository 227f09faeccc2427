"""Holding a lease: a thread that keeps it alive, and notes cancellation and loss."""

import threading
import time
from collections.abc import Callable

from tilewright.db.service.leases import LeaseLostError
from tilewright.db.storage.session import DatabaseDownError


class Holding:
    """A lease kept alive from entering a `with` block to leaving it.

    `beat` prolongs it, and returns whether an end was requested: then `cancelled` is set. `lost` is set when
    another holder may have taken over. While the database does not answer, the lease counts as held until it
    has run out by this machine's clock; what is written is checked by the database in any case.
    """

    def __init__(
        self,
        beat: Callable[[], bool],
        lease_s: float,
        heartbeat_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._beat_once = beat
        self._lease_s = lease_s
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._over = threading.Event()
        self._cancelled = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def cancelled(self) -> bool:
        """Whether a cancel was asked for."""
        return self._cancelled.is_set()

    @property
    def lost(self) -> bool:
        """Whether the lease is lost, or was not prolonged in time."""
        return self._lost.is_set()

    def __enter__(self) -> "Holding":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        until = self._clock() + self._lease_s
        while not self._over.wait(self._heartbeat_s):
            asked = self._clock()
            try:
                ending = self._beat_once()
            except LeaseLostError:
                self._lost.set()
                return
            except DatabaseDownError:
                if self._clock() > until:
                    self._lost.set()
                    return
                continue
            until = asked + self._lease_s
            if ending:
                self._cancelled.set()
