"""The service on PostgreSQL, whose server is stopped under it again and again."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import httpx
import pytest

from tests.api.service import model_bytes
from tests.db.postgres import find_binaries, running_postgres, somebody_but_root
from tests.e2e.processes import free_port, process, wait_until_ready
from tests.e2e.test_service_faults import trials_of, undisturbed, wait_for_end
from tilewright.db.storage.session import open_database

BINARIES = find_binaries()
BACK_S = 5.0
pytestmark = pytest.mark.skipif(
    BINARIES is None, reason="NO PostgreSQL FOUND: the service was not tried on it"
)


@dataclass
class Postgres:
    """A server that can be stopped as a power cut would, and started again."""

    url: str

    def control(self, *command: str) -> None:
        assert BINARIES is not None
        home = Path(parse_qs(urlparse(self.url).query)["host"][0])
        subprocess.run(
            [BINARIES / "pg_ctl", "-D", home / "data", "-w", "-l", home / "log", *command],
            check=True,
            cwd=home,
            stdout=subprocess.DEVNULL,
            **somebody_but_root(home),
        )

    def options(self) -> str:
        home = parse_qs(urlparse(self.url).query)["host"][0]
        return f"-k {home} -c listen_addresses= -c fsync=off -c max_connections=60"

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")

    def start(self) -> None:
        self.control("-o", self.options(), "start")


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    assert BINARIES is not None
    with running_postgres(BINARIES) as url:
        yield Postgres(url)


def submit(port: int, seed: int, trials: int) -> str:
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/jobs",
        files={"model": ("m.onnx", model_bytes())},
        data={"spec": f'{{"target":"ascend910","seed":{seed},"trials":{trials}}}'},
        trust_env=False,
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def jobs_survive_restarts(postgres: Postgres, restarts: int, trials: int, outage_s: float = 0.0) -> None:
    port = free_port()
    with process("server", postgres.url, str(port)), process("runner", postgres.url):
        wait_until_ready(port)
        made = [submit(port, seed, trials) for seed in range(3)]
        for number in range(restarts):
            time.sleep(0.5)
            postgres.stop()
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/jobs", trust_env=False, timeout=30)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
            time.sleep(outage_s)
            postgres.start()
            wait_until_ready(port, BACK_S)
            made.append(submit(port, 3 + number, 4))
        database = open_database(postgres.url)
        try:
            for seed, uid in enumerate(made):
                from tilewright.db.service.jobs import Jobs

                row = Jobs(database).get(uid)
                assert row is not None, "an acknowledged job is lost"
                ended = wait_for_end(database, row, 120.0)
                assert ended.state == "succeeded", ended.error
                assert trials_of(database, row) == undisturbed(seed, trials if seed < 3 else 4)
        finally:
            database.close()


def test_two_restarts(postgres: Postgres) -> None:
    jobs_survive_restarts(postgres, restarts=2, trials=60)


@pytest.mark.campaign
def test_fifty_restarts(postgres: Postgres) -> None:
    jobs_survive_restarts(postgres, restarts=50, trials=400)


@pytest.mark.campaign
def test_a_minute_without_a_database(postgres: Postgres) -> None:
    jobs_survive_restarts(postgres, restarts=1, trials=200, outage_s=60.0)
