"""A driver to be run on a host of a cluster: keeps its farm busy, and says how it stands, a line at a time.

    python -m benchmarks.farm.driver ADDRESS KIND PACE_S DEVICES

It waits for that many devices first.
One JSON object a line: `{"at_s", "done", "hosts": {host: calls there}, "ready": {host: workers}}`. A line on
standard input ends it, after everything out has come back: the last line is `{"trials", "wrong", "doubled"}`.
"""

import json
import select
import sys
import time

from benchmarks.farm.device import NumberedTask, configs, latency_us, spec_of
from tilewright.measure.farm.messages import Rules
from tilewright.measure.ray_farm.cluster import connect, disconnect
from tilewright.measure.ray_farm.pool import RayPool

TASK = NumberedTask(1)
SAY_S = 0.2


def main() -> int:
    """0 when every answer was right and came once."""
    address, kind, pace_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
    cluster = connect(address, kind, 1)
    while cluster.offered() < int(sys.argv[4]):
        time.sleep(SAY_S)
    sent: dict[int, int] = {}
    answered: set[int] = set()
    wrong = doubled = 0
    said_s, stopping = 0.0, False
    with RayPool(spec_of(pace_s, kind), workers=None, address=address, rules=Rules(attempts=20)) as pool:
        pool.info()
        while not stopping or pool.outstanding():
            stopping = stopping or bool(select.select([sys.stdin], [], [], 0.0)[0])
            for ticket in pool.submit(TASK, configs(len(sent), 0 if stopping else min(500, pool.wanted()))):
                sent[ticket] = len(sent)
            for answer in pool.collect(0.05):
                doubled += answer.ticket in answered
                answered.add(answer.ticket)
                right = latency_us(TASK, configs(sent[answer.ticket], 1)[0])
                wrong += answer.measurement.latency_us != right
            if time.monotonic() - said_s > SAY_S:
                said_s = time.monotonic()
                calls: dict[str, int] = {}
                ready: dict[str, int] = {}
                for worker in pool.workers():
                    calls[worker.host] = calls.get(worker.host, 0) + worker.calls
                    ready[worker.host] = ready.get(worker.host, 0) + (worker.phase == "ready")
                line = {"at_s": said_s, "done": len(answered), "hosts": calls, "ready": ready}
                print(json.dumps(line), flush=True)
    disconnect()
    lost = len(sent) - len(answered)
    print(json.dumps({"trials": len(sent), "lost": lost, "wrong": wrong, "doubled": doubled}), flush=True)
    return int(bool(wrong or doubled or lost))


if __name__ == "__main__":
    raise SystemExit(main())
