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


PODS = {
    **{each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in DEPLOYMENTS},
    **{
        f"ray {number}": group["template"]["spec"]
        for number, group in enumerate((RAY["spec"]["headGroupSpec"], *RAY["spec"]["workerGroupSpecs"]))
    },
}
POLICIES = {
    each["metadata"]["name"]: each["spec"] for each in RESOURCE_KINDS if each["kind"] == "NetworkPolicy"
}
BINARY = {"Mi": 1 << 20, "Gi": 1 << 30}


def bytes_of(quantity: str) -> int:
    return int(quantity[:-2]) * BINARY[quantity[-2:]]


@pytest.mark.parametrize("name", PODS)
def test_pods_may_do_nothing_that_they_need_not(name: str) -> None:
    pod = PODS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", PODS)
def test_folders_fit_what_is_kept_in_them(name: str) -> None:
    pod, settings = PODS[name], Settings()
    sizes = [bytes_of(volume["emptyDir"]["sizeLimit"]) for volume in pod["volumes"] if "emptyDir" in volume]
    assert len(sizes) == len(pod["volumes"])
    limits = pod["containers"][0]["resources"]["limits"]
    on_disk = sum(
        bytes_of(volume["emptyDir"]["sizeLimit"])
        for volume in pod["volumes"]
        if volume["emptyDir"].get("medium") != "Memory"
    )
    assert on_disk <= bytes_of(limits["ephemeral-storage"])
    if name == "tilewright-api":
        # An upload is two files where others lie beside the model: as it came, and in one bundle.
        on_their_way = (2 * settings.max_uploads + settings.model_readers) * settings.max_upload_mb << 20
        assert on_their_way <= sizes[0]
        assert (settings.model_readers * settings.model_memory_mb << 20) + (1 << 30) <= bytes_of(
            limits["memory"]
        )


def test_nobody_is_reached_and_reaches_out_but_as_said() -> None:
    nothing = POLICIES["tilewright-nothing-else"]
    assert (nothing["podSelector"], nothing.get("ingress")) == ({"matchLabels": {"app": "tilewright"}}, None)
    for name, policy in POLICIES.items():
        assert policy["policyTypes"] == ["Ingress", "Egress"], name
        for rule in policy["egress"]:
            assert rule["to"], f"{name} reaches everybody"
    for pod in DEPLOYMENTS:
        labels = pod["spec"]["template"]["metadata"]["labels"]
        assert any(
            labels.items() >= policy["podSelector"]["matchLabels"].items() and policy.get("ingress")
            for policy in POLICIES.values()
        )


def test_services_cannot_write_their_own_image() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["image"].startswith("${"), f"{name}: an image is given by its digest in .env"
    assert "ports" not in COMPOSE["services"]["api"], "the proxy has TLS"
    assert [name for name, each in COMPOSE["services"].items() if "front" in each["networks"]] == [
        "proxy",
        "api",
    ]


def test_the_proxy_says_whose_requests_it_passes_on() -> None:
    text = (DEPLOY / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    assert text.count("proxy_pass http://api:8757;") == text.count("X-Forwarded-For $remote_addr;") == 2
    environment = COMPOSE["services"]["api"]["environment"]
    (subnet,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert environment["TILEWRIGHT_PROXIES"] == subnet["subnet"]
    (name,) = re.findall(r"server_name ([\w.]+);", text)
    assert name in environment["TILEWRIGHT_ALLOWED_HOSTS"].split(",")
    (limit,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(limit) > Settings().max_upload_mb


def test_images_can_be_pinned() -> None:
    listed = dict(re.findall(r"^([A-Z]+_IMAGE) (\S+)$", (DEPLOY / "pin.sh").read_text(), re.MULTILINE))
    used = dict(re.findall(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", (DEPLOY / "compose.yaml").read_text()))
    assert listed == {name: image for name, image in used.items() if name != "SERVICE_IMAGE"}
    docker = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG PYTHON_IMAGE={listed['PYTHON_IMAGE']}\n" in docker
    assert re.findall(r"^FROM (\S+)", docker, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2


def test_what_the_image_is_made_of_is_sent_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    docker = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", docker, re.MULTILINE)
    assert {name for line in copied for name in line.split()} == sent
