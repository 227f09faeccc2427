"""What is in deploy/ fits the schemas of those who read it, and the program it starts."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tilewright.api.cli.verbs import VERBS
from tilewright.api.observability.metrics import Gauges, exposition
from tilewright.api.settings import PREFIX, Settings
from tilewright.compiler_core.target_model.file import list_targets

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
RESOURCES = {f"device_{name}" for name in list_targets()}


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


COMPOSE = documents(DEPLOY / "compose.yaml")[0]
RESOURCE_KINDS = [each for path in MANIFESTS for each in documents(path)]
DEPLOYMENTS = [each for each in RESOURCE_KINDS if each["kind"] == "Deployment"]
RAY = next(each for each in RESOURCE_KINDS if each["kind"] == "RayCluster")


def containers(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    return found


def schema_tool(name: str) -> Any:
    return pytest.importorskip(name, reason=f"NO {name} FOUND: deploy/ was not checked against its schema")


@pytest.mark.parametrize(
    "resource",
    [each for each in RESOURCE_KINDS if each["kind"] != "RayCluster"],
    ids=lambda each: each["kind"],
)
def test_kubernetes_would_take_it(resource: dict[str, Any]) -> None:
    schema_tool("kubernetes_validate").validate(resource, "1.33", strict=True)


def test_the_pods_of_the_ray_cluster_are_pods() -> None:
    validate = schema_tool("kubernetes_validate").validate
    for group in (RAY["spec"]["headGroupSpec"], *RAY["spec"]["workerGroupSpecs"]):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x"},
            "spec": group["template"]["spec"],
        }
        validate(pod, "1.33", strict=True)


def test_ray_asks_for_a_token_everywhere() -> None:
    assert RAY["spec"]["authOptions"] == {"mode": "token"}
    runner = next(each for each in DEPLOYMENTS if each["metadata"]["name"] == "tilewright-runner")
    environment = {entry["name"]: entry for entry in containers(runner)[0]["env"]}
    assert environment["RAY_AUTH_MODE"]["value"] == "token"
    secret = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert secret == {"name": RAY["metadata"]["name"], "key": "auth_token"}  # where KubeRay puts it
    assert environment["TILEWRIGHT_RAY"]["value"] == f"{RAY['metadata']['name']}-head-svc:6379"
    for service in ("runner", "ray-head", "ray-worker"):
        assert COMPOSE["services"][service]["environment"]["RAY_AUTH_MODE"] == "token"


def test_compose_would_take_it() -> None:
    compose_spec = schema_tool("compose_spec")
    compose_spec.ComposeSpecification.model_validate(COMPOSE)


def test_every_secret_and_volume_is_declared() -> None:
    for name, service in COMPOSE["services"].items():
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys(), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), volume
        assert set(service.get("depends_on", [])) <= COMPOSE["services"].keys()


def test_the_command_exists_with_every_option_given() -> None:
    commands = [each["args"] for deployment in DEPLOYMENTS for each in containers(deployment)]
    commands += [COMPOSE["services"][name]["command"] for name in ("api", "runner")]
    for verb, *options in commands:
        assert verb in VERBS
        source = (ROOT / "api" / "cli" / f"{verb}.py").read_text(encoding="utf-8")
        for option in options:
            if option.startswith("--"):
                name = option.removeprefix("--").removeprefix("no-").replace("-", "_")
                assert re.search(rf"^    {name}: ", source, re.MULTILINE), (verb, option)


def test_settings_in_the_environment_exist() -> None:
    text = "".join(path.read_text() for path in [DEPLOY / "compose.yaml", DEPLOY / "start.sh", *MANIFESTS])
    named = set(re.findall(rf"{PREFIX}([A-Z_]+)", text))
    assert named
    assert {name.lower() for name in named} <= Settings.__dataclass_fields__.keys()


def test_workers_offer_every_preset() -> None:
    (given,) = [
        word for word in COMPOSE["services"]["ray-worker"]["command"] if word.startswith("--resources=")
    ]
    assert json.loads(given.partition("=")[2]).keys() == RESOURCES
    start = RAY["spec"]["workerGroupSpecs"][0]["rayStartParams"]["resources"]
    assert json.loads(json.loads(start)).keys() == RESOURCES


def test_the_image_holds_every_package() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        shlex.split(line)[1:-1]
        for line in text.splitlines()
        if line.startswith("COPY ") and "--from" not in line
    ]
    names = {name for line in copied for name in line}
    assert all((ROOT / name).exists() for name in names)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= names
    assert "USER tilewright" in text


def test_alerts_ask_for_metrics_that_exist() -> None:
    rules = documents(DEPLOY / "prometheus" / "rules.yml")[0]
    there = exposition(Gauges({"queued": 1}, {"ok": 1}, {"quarantined": 1})).decode()
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule.keys() >= {"alert", "expr", "labels", "annotations"}
            for metric in re.findall(r"tilewright_\w+", rule["expr"]):
                assert metric.removesuffix("_bucket") in there, metric
    scraped = documents(DEPLOY / "prometheus" / "prometheus.yml")[0]["scrape_configs"]
    for job in scraped:
        host, _, port = job["static_configs"][0]["targets"][0].partition(":")
        assert host in COMPOSE["services"]
        assert port in ("8757", "9102")
