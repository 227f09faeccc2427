"""A Config of the whole network from elsewhere, offered as a better answer than the one that is published."""

from tilewright.db.records import Best
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.check import NetworkCheck, sound
from tilewright.tuner.answer.finalists import median_of
from tilewright.tuner.network.book import Book
from tilewright.tuner.network.opened import Opened


def publish_better(opened: Opened, book: Book, config: Config) -> Best | None:
    """Confirm, check and publish a Config that beats the network's best; None where it does not hold."""
    known, value = opened.records.known_network(), opened.objective.of
    if known is None:
        return None
    bar = value(known.as_measured)
    confirmations = book.pool.confirm(opened.network.task, config)
    if bar is None or median_of(confirmations, value) >= bar:
        return None
    verification = sound(book, NetworkCheck(opened), config)
    if verification is None:
        return None
    best = book.publish_network(config, confirmations, verification)
    return best if best is not None and best.config == config else None
