"""What `deploy/` says: files that are there, settings that are known, and what real programs make of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.tools import program, python_program
from towerlog.cli.exits import CONFIGURATION
from towerlog.config import MEANINGS

HERE = Path(__file__).parent
DEPLOY = HERE.parents[1] / "deploy"
KNOWN = {f"TOWERLOG_{name.upper()}" for name in (*MEANINGS, "wake")}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def run(*command: str, cwd: Path = DEPLOY) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "file", ["compose.yaml", "Containerfile", "towerlog.service", "helm/towerlog/templates/deployment.yaml"]
)
def test_every_setting_is_known(file: str) -> None:
    named = set(re.findall(r"TOWERLOG_[A-Z_]+[A-Z]", (DEPLOY / file).read_text()))
    assert named
    assert {name.removesuffix("_FILE") for name in named} <= KNOWN


def test_what_compose_names_is_there() -> None:
    services = compose()["services"]
    nodes = [name for name, one in services.items() if one["image"] == "towerlog"]
    assert len(nodes) == 3
    balancer = (DEPLOY / "haproxy.cfg").read_text()
    for name in nodes:
        build = services[name]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
        assert re.search(rf"server {name} {name}:8700$", balancer, re.MULTILINE)
    for volume in services["balancer"]["volumes"]:
        assert (DEPLOY / volume.split(":")[0]).is_file()


def test_haproxy_reads_its_file(tmp_path: Path) -> None:
    # The names of the nodes are those of the network of compose; here nobody knows them.
    file = tmp_path / "haproxy.cfg"
    file.write_text((DEPLOY / "haproxy.cfg").read_text().replace("init-addr last,libc,none", "init-addr none"))
    run(program("haproxy"), "-c", "-f", str(file))


def test_the_unit_does_not_start_what_cannot_start() -> None:
    text = (DEPLOY / "towerlog.service").read_text()
    assert "file://" not in text, "an installation into /opt has no documentation as files; the server serves it"
    assert f"RestartPreventExitStatus={CONFIGURATION}\n" in text


EVERYTHING = {
    "replicas": 5,
    "image": {"tag": "1.2.3"},
    "wake": "nats://nats:4222",
    "publicUrl": "https://tower.example",
    "allowedHosts": "tower.example, 10.0.0.1",
    "trustedProxies": "10.0.0.0/8",
    "settings": {"TOWERLOG_MAX_BODY_BYTES": "1000000"},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tower-tls", "annotations": {"a": "b"}},
}


def chart(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the chart comes to, by kind; Helm and the schemas of Kubernetes have nothing against it."""
    python = python_program("python", HERE)
    found = json.loads(run(python, str(HERE / "chart.py"), str(DEPLOY / "helm" / "towerlog"), json.dumps(values)))
    assert [one["error"] for one in found["lint"]] == ["icon is recommended"]
    return {one["kind"]: one for one in found["manifests"]}


@pytest.mark.slow
def test_the_chart_renders_what_kubernetes_takes() -> None:
    kinds = chart({})
    assert set(kinds) == {"Deployment", "Service", "PodDisruptionBudget"}
    assert kinds["Deployment"]["spec"]["replicas"] == 3
    assert "PodDisruptionBudget" not in chart({"replicas": 2}), "it would let no machine be drained"


@pytest.mark.slow
def test_the_values_of_the_chart_come_where_they_belong() -> None:
    kinds = chart(EVERYTHING)
    pod = kinds["Deployment"]["spec"]["template"]
    [node] = pod["spec"]["containers"]
    env = {one["name"]: one["value"] for one in node["env"]}
    assert {name.removesuffix("_FILE") for name in env} <= KNOWN
    assert env["TOWERLOG_WAKE"] == "nats://nats:4222"
    assert env["TOWERLOG_ALLOWED_HOSTS"] == "tower.example, 10.0.0.1"
    assert env["TOWERLOG_MAX_BODY_BYTES"] == "1000000"
    assert node["image"] == "towerlog:1.2.3"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert node[probe]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "tower.example"}]
    labels = pod["metadata"]["labels"]
    for selector in (kinds["Service"]["spec"]["selector"], kinds["Deployment"]["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    assert kinds["Ingress"]["spec"]["tls"] == [{"hosts": ["towerlog.example"], "secretName": "tower-tls"}]


@pytest.mark.slow
def test_the_chart_refuses_values_that_it_does_not_know() -> None:
    python = python_program("python", HERE)
    command = [python, str(HERE / "chart.py"), str(DEPLOY / "helm" / "towerlog"), json.dumps({"replica": 5})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "replica" in done.stderr


@pytest.mark.slow
def test_docker_compose_reads_its_file(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    compose_program = python_program("docker-compose", HERE)
    command = [compose_program, "-f", str(tmp_path / "deploy" / "compose.yaml"), "config", "--format", "json"]
    read = json.loads(run(*command))
    assert set(read["services"]) == set(compose()["services"])


@pytest.mark.slow
def test_hadolint_has_nothing_against_the_container() -> None:
    assert run(python_program("hadolint", HERE), "Containerfile") == ""
