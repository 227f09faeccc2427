"""The long form of what other tests do shortly: a thousand kills, a crowd for a minute, 10,000 merges."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.db.campaigns import contend, kill_writers
from tests.db.test_exchange import check_union, parts
from tilewright.db.exchange.entries import Entry

pytestmark = pytest.mark.campaign


def test_a_thousand_kills(url: str) -> None:
    kills = kill_writers(url, kills=1000, seed=0)
    print(kills)
    assert (kills.lost, kills.torn_batches, kills.integrity) == (0, 0, "ok")


def test_a_minute_of_eight_writers_and_two_readers(url: str) -> None:
    contention = contend(url, seconds=60.0)
    print(contention)
    assert contention.errors == ()
    assert contention.lost == 0


@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts(), parts(), parts())
def test_ten_thousand_merges(one: list[Entry], two: list[Entry], three: list[Entry]) -> None:
    check_union(one, two, three)
