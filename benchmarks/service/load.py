"""An open-loop load: requests leave on a timetable, whether or not the ones before were answered.

    python -m benchmarks.service.load PORT SECONDS RATE:PATH [RATE:PATH ...]

A little HTTP written out by hand, because a client library takes longer for a request than the server does.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence

CONNECTIONS = 32


async def offer(port: int, seconds: float, rate_per_s: float, paths: Sequence[str]) -> list[float]:
    """Seconds from the moment a request was due, sorted; an answer other than 200 counts as infinite."""
    due: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()
    latencies: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (work := await due.get()) is not None:
            at, path = work
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            good = head.startswith(b"HTTP/1.1 200")
            latencies.append(time.perf_counter() - at if good else float("inf"))
        writer.close()

    connections = [asyncio.create_task(connection()) for _ in range(CONNECTIONS)]
    start = time.perf_counter()
    sent = 0
    while (now := time.perf_counter() - start) < seconds:
        while sent < now * rate_per_s:
            due.put_nowait((start + sent / rate_per_s, paths[sent % len(paths)]))
            sent += 1
        await asyncio.sleep(0.001)
    for _ in connections:
        due.put_nowait(None)
    await asyncio.gather(*connections)
    return sorted(latencies)


async def _main(port: int, seconds: float, streams: Sequence[tuple[float, str]]) -> None:
    found = await asyncio.gather(*(offer(port, seconds, rate, [path]) for rate, path in streams))
    for (rate, path), latencies in zip(streams, found, strict=True):
        at = {f"p{p}_ms": round(latencies[int(len(latencies) * p / 100)] * 1e3, 2) for p in (50, 99)}
        print(json.dumps({"path": path[:40], "rate": rate, "answers": len(latencies), **at}))


if __name__ == "__main__":
    split = [each.split(":", 1) for each in sys.argv[3:]]
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), [(float(rate), path) for rate, path in split]))
