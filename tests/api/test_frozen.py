"""`frozen=true`: a service answers from its lock, whatever is in its database, or says that it cannot."""

from pathlib import Path

import httpx
import pytest

from tests.api.service import running_server, settings_for
from tests.db.samples import digest
from tilewright.api.app import create_app
from tilewright.api.client import Client
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.exchange.lock_file import Lock, LockedKernel, LockedNetwork
from tilewright.db.records import Verification
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import Config


def locked(name: str, tile: int) -> LockedNetwork:
    kernels = [
        LockedKernel("conv", digest(word), ("contract",), 1, "network", 2.5) for word in (name, "both")
    ]
    configs = [(f"kernel_{each.workload_digest[:16]}", f'{{"tile_0":{tile}}}') for each in kernels]
    return LockedNetwork(
        name=name,
        graph_digest=digest(name + " whole"),
        dims={},
        target="ascend310",
        target_digest=load_target("ascend310").digest,
        toolchain=TOOLCHAIN,
        objective=Objective.LATENCY,
        latency_us=5.5,
        simulated_us=None,
        host_us=0.0,
        verification=Verification.VALUE_EXACT,
        config=Config((("groups", "0|1"), *configs)),
        program_digest="0" * 64,
        kernels=tuple(kernels),
    )


def test_a_service_answers_from_its_lock(database: Database, tmp_path: Path) -> None:
    networks = {each.key: each for each in (locked("a", 8), locked("b", 16))}
    path = tmp_path / "tilewright.lock"
    path.write_text(Lock(networks).text())
    app = create_app(settings_for(tmp_path / "tuning.db", lock=str(path)), database)
    with running_server(app) as url, Client(url) as client:
        found = client.lookup("ascend310", model=digest("a whole")[:12], frozen=True).locked
        assert found is not None
        assert (found.latency_us, found.source) == (5.5, "network")
        found = client.lookup("ascend310", workload=digest("b"), frozen=True).locked
        assert found is not None
        assert found.config == {"tile_0": 16}
        with pytest.raises(UsageError, match="runs in several locked networks, not all alike"):
            client.lookup("ascend310", workload=digest("both"), frozen=True)
        with pytest.raises(UsageError, match="is not locked for this target"):
            client.lookup("ascend910", model=digest("a whole"), frozen=True)
        assert not client.lookup("ascend310", workload=digest("b")).hit
        asked = {"target": "ascend310", "model": digest("a"), "dim": "seq=4", "frozen": "true"}
        assert httpx.get(f"{url}/v1/lookup", params=asked, trust_env=False).status_code == 422


def test_a_service_without_a_lock_says_so(client: httpx.Client) -> None:
    asked = {"target": "ascend310", "model": digest("a"), "frozen": "true"}
    answer = client.get("/v1/lookup", params=asked)
    assert answer.status_code == 404
    assert "has no lock" in answer.json()["detail"]


def test_a_service_does_not_start_with_a_broken_lock(database: Database, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot read lock"):
        create_app(settings_for(tmp_path / "tuning.db", lock=str(tmp_path / "none.lock")), database)
