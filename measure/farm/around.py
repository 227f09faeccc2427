"""What pools around another pool have in common: they ask it how it stands."""

from tilewright.measure.farm.pool import Pool, WorkerStatus


class PoolAround:
    """See Pool. The part that `_pool` answers unchanged."""

    _pool: Pool

    def start(self) -> None:
        """See Pool."""
        self._pool.start()

    def wanted(self) -> int:
        """See Pool."""
        return self._pool.wanted()

    def outstanding(self) -> int:
        """See Pool."""
        return self._pool.outstanding()

    def workers(self) -> list[WorkerStatus]:
        """See Pool."""
        return self._pool.workers()

    def news(self) -> list[WorkerStatus]:
        """See Pool."""
        return self._pool.news()
