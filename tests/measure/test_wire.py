"""What goes over the wire comes back the same, and what comes back garbled is LOST, never a result."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.measure.fake_device import FakeDevice, NamedTask, spec_of
from tilewright.compiler_core.errors import DeviceError
from tilewright.measure.results import Measurement, Status
from tilewright.measure.wire import DeviceSpec, measurement_from_plain, measurement_to_plain

times = st.floats(min_value=1e-9, max_value=1e12)


@given(
    latency_us=times,
    samples_us=st.lists(times, max_size=5).map(tuple),
    latency_cycles=st.none() | times,
    energy_uj=st.none() | times,
    peak_bytes=st.none() | st.integers(0, 2**50),
)
def test_measurements_survive(**values: Any) -> None:
    measurement = Measurement(Status.OK, worker="w", **values)
    assert measurement_from_plain(measurement_to_plain(measurement), "w") == measurement


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_failures_survive(status: Status) -> None:
    measurement = Measurement(status, reason="why", worker="w")
    assert measurement_from_plain(measurement_to_plain(measurement), "w") == measurement


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {"status": "splendid"},
        {"status": "ok"},
        {"status": "ok", "latency_us": -1.0},
        {"status": "ok", "latency_us": float("nan")},
        {"status": "ok", "latency_us": "3"},
        {"status": "failed", "latency_us": 3.0},
        {"status": "ok", "latency_us": 3.0, "surprise": 1},
        {"status": "ok", "latency_us": 3.0, "samples_us": ["x"]},
    ],
)
def test_garbled_answers_are_lost(plain: Any) -> None:
    assert measurement_from_plain(plain, "w").status is Status.LOST


def test_a_spec_builds_its_device_and_its_tasks() -> None:
    spec = DeviceSpec.from_json(spec_of(toolchain="fake-7").to_json())
    assert spec == spec_of(toolchain="fake-7")
    assert spec.make_device() == FakeDevice(toolchain="fake-7")
    task = NamedTask("x")
    assert spec.decode_task(spec.encode_task(task)) == task


@pytest.mark.parametrize("name", ["nowhere:make", "json", "json:nothing", ":", ""])
def test_a_name_that_leads_nowhere(name: str) -> None:
    with pytest.raises(DeviceError, match="module:function"):
        DeviceSpec.of("fake", name, name, name).make_device()
