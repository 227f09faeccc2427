"""A farm over three hosts (network namespaces on a bridge): the token, a pulled cable, an orderly leave."""

import threading
import warnings
from collections.abc import Iterator

import pytest

from benchmarks.farm.cables import Farm, cut_cables, farm_of_three_hosts, leave_in_order, uninvited
from benchmarks.farm.hosts import namespaces_missing
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.measure.ray_farm.member import serve_farm
from tilewright.measure.ray_farm.private import is_loopback, require_token


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    missing = namespaces_missing()
    if missing:
        message = f"FARMS OF SEVERAL HOSTS ARE NOT TESTED HERE: {missing}"
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    with farm_of_three_hosts() as farm:
        yield farm
        last = farm.driver.stop()
        assert last["trials"] > 0
        assert (last["lost"], last["wrong"], last["doubled"]) == (0, 0, 0)


@pytest.mark.timeout(300)
def test_work_of_a_host_that_is_cut_off_is_leased_again_and_counted_once(farm: Farm) -> None:
    row = cut_cables(farm, cuts=1, seed=0, longest_s=3.0)
    assert row["worst_release_s"] <= 30.0


@pytest.mark.timeout(300)
def test_a_host_leaves_in_order_and_another_takes_its_place(farm: Farm) -> None:
    assert leave_in_order(farm)["code"] == 0


@pytest.mark.timeout(300)
def test_without_the_token_nobody_gets_in_from_another_host(farm: Farm) -> None:
    row = uninvited(farm)
    assert row["none"] == []
    assert row["wrong"] == []
    assert row["right"] == [
        "driver",
        "store",
        "node",
    ]  # so the ways in exist, and the token opens them


def test_joining_beyond_this_machine_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(DeviceError, match="RAY_AUTH_MODE=token"):
        serve_farm("10.1.2.3:6379", "gemmini16", 1, 1.0, threading.Event())
    with pytest.raises(DeviceError, match="no Ray answers"):
        serve_farm("127.0.0.1:1", "gemmini16", 1, 1.0, threading.Event())
    with pytest.raises(UsageError, match="HOST:PORT"):
        serve_farm("localhost:ray", "gemmini16", 1, 1.0, threading.Event())
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    require_token("10.1.2.3:6379")


@pytest.mark.parametrize(
    ("address", "answer"), [("127.0.0.1:1", True), ("[::1]:1", True), ("localhost:1", True), ("h:1", False)]
)
def test_loopback(address: str, answer: bool) -> None:
    assert is_loopback(address) is answer
