"""The published memory plans at their bounds, and the traffic graphs in small."""

import pytest

from benchmarks.order.published_orders import PUBLISHED, published_graphs, published_row
from benchmarks.order.traffic import families, saved_by_family


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_meet_their_bound(name: str) -> None:
    graph = next(graph for graph in published_graphs() if graph.name == name)
    row = published_row(graph)
    assert row["status"] == "optimal"
    assert row["peak_mib"] == row["bound_mib"] == row["arena_mib"]
    assert row["met"], row


def test_every_family_of_the_traffic_bench_has_two_graphs_or_more() -> None:
    for family, graphs in families().items():
        assert len({graph.name for graph in graphs}) == len(graphs) >= 2, family


def test_savings_are_averaged_per_family() -> None:
    rows = [{"family": "f", "given_bytes": 8, "found_bytes": found} for found in (2, 8)]
    assert saved_by_family(rows) == {"f": 0.5}
