"""How much the service carries: load, slow connections, large and broken uploads."""

import asyncio
import io
import os
import random
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.service.load import offer
from tests.api.service import model_bytes
from tests.e2e.processes import free_port, process, wait_until_ready

NOBODYS = "0" * 64
HOSTILE = Path(__file__).parents[2].parent / "shared" / "hostile"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, int, int]]:
    """URL of the database, port and process id of a server."""
    url, port = str(tmp_path / "tuning.db"), free_port()
    with process("server", url, str(port)) as server:
        wait_until_ready(port)
        yield url, port, server.pid


def post(port: int, model: bytes, spec: str = '{"target":"ascend910"}') -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{port}/v1/jobs",
        files={"model": ("m.onnx", io.BytesIO(model))},
        data={"spec": spec},
        trust_env=False,
        timeout=120,
    )


def memory_mb(pid: int, kind: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(kind))


def weighty_model(megabytes: int) -> bytes:
    rows = megabytes * 1_000_000 // 4 // 1000
    weights = np.random.default_rng(0).standard_normal((rows, 1000)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "weighty",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(onnx.ModelProto.SerializeToString(model))


def upload_takes_little_memory(served: tuple[str, int, int], megabytes: int, most_mb: int) -> None:
    _, port, pid = served
    answer = post(port, weighty_model(megabytes))
    assert answer.status_code == 201, answer.text
    assert memory_mb(pid, "VmHWM") <= most_mb


def test_an_upload_is_never_whole_in_memory(served: tuple[str, int, int]) -> None:
    upload_takes_little_memory(served, megabytes=30, most_mb=170)


@pytest.mark.campaign
def test_an_upload_of_100_mb_in_200_mb(served: tuple[str, int, int]) -> None:
    upload_takes_little_memory(served, megabytes=100, most_mb=200)


def others_while_connections_are_slow(port: int, slow: int, seconds: float) -> list[float]:
    with ExitStack() as stack:
        for _ in range(slow):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        return asyncio.run(offer(port, seconds, 20.0, ["/v1/jobs"]))


def test_slow_connections_are_nobody_elses_business(served: tuple[str, int, int]) -> None:
    latencies = others_while_connections_are_slow(served[1], slow=300, seconds=1.0)
    assert len(latencies) >= 15
    assert latencies[-1] < float("inf")


@pytest.mark.campaign
def test_three_hundred_slow_connections(served: tuple[str, int, int]) -> None:
    latencies = others_while_connections_are_slow(served[1], slow=300, seconds=9.0)
    assert latencies[int(len(latencies) * 0.99)] < 0.5


@pytest.mark.campaign
def test_the_load_of_a_team(served: tuple[str, int, int]) -> None:
    """200 GETs of jobs and 500 lookups a second while four jobs run: reported, and every answer is right."""
    url, port, _ = served
    jobs = [post(port, model_bytes(), f'{{"target":"ascend910","trials":9999,"seed":{n}}}') for n in range(4)]
    paths = [answer.json()["links"]["self"] for answer in jobs]
    lookup = f"/v1/lookup?target=ascend910&workload={NOBODYS}"
    with ExitStack() as stack:
        for _ in paths:
            stack.enter_context(process("runner", url))
        time.sleep(5.0)

        async def both() -> tuple[list[float], list[float]]:
            return await asyncio.gather(offer(port, 30.0, 200.0, paths), offer(port, 30.0, 500.0, [lookup]))

        for name, latencies in zip(("jobs", "lookups"), asyncio.run(both()), strict=True):
            p50, p99 = (latencies[int(len(latencies) * share)] * 1e3 for share in (0.5, 0.99))
            print(f"{name}: {len(latencies) / 30.0:.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
            assert latencies[-1] < float("inf")


def mutated(rng: random.Random, model: bytes) -> bytes:
    changed = bytearray(model)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                del changed[at : at + rng.randint(1, 16)]
            case _:
                changed[at:at] = rng.randbytes(rng.randint(1, 16))
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def answered(port: int, models: Sequence[bytes], most_s: float) -> list[int]:
    """Statuses of uploads, two at a time, each answered in time; the server is there afterwards."""

    def send(model: bytes) -> tuple[int, float]:
        start = time.monotonic()
        return post(port, model).status_code, time.monotonic() - start

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(send, models))
    slowest = max(seconds for _, seconds in answers)
    taken = sum(status == 201 for status, _ in answers)
    print(f"{len(answers)} uploads, {taken} taken, slowest {slowest:.2f} s")
    assert slowest < most_s
    assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
    return [status for status, _ in answers]


def mutants(count: int) -> list[bytes]:
    rng = random.Random(count)
    return [mutated(rng, model_bytes()) for _ in range(count)]


def test_mutated_models(served: tuple[str, int, int]) -> None:
    _, port, pid = served
    assert set(answered(port, mutants(40), most_s=30.0)) <= {201, 422}
    os.kill(pid, 0)


@pytest.mark.campaign
def test_five_thousand_mutated_models(served: tuple[str, int, int]) -> None:
    _, port, pid = served
    assert set(answered(port, mutants(5000), most_s=10.0)) <= {201, 422}
    os.kill(pid, 0)


@pytest.mark.campaign
@pytest.mark.skipif(not HOSTILE.is_dir(), reason="NO HOSTILE MODELS FOUND: uploads of them were not tried")
def test_the_whole_folder_of_hostile_models(served: tuple[str, int, int]) -> None:
    _, port, pid = served
    rows = (HOSTILE / "expected.csv").read_text().splitlines()[1:]
    expected = {name: verdict for name, verdict, *_ in (row.split(",") for row in rows)}
    paths = sorted(HOSTILE.glob("*.onnx"))
    statuses = answered(port, [path.read_bytes() for path in paths], most_s=10.0)
    for path, status in zip(paths, statuses, strict=True):
        allowed = {"accept": {201, 422}, "reject": {422}, "either": {201, 422}}[expected[path.name]]
        assert status in allowed, path.name
    os.kill(pid, 0)
