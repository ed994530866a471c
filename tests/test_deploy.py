"""What `deploy/` says: files that are there, settings that are known, and what real programs make of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.tools import program
from towerlog.cli.exits import CONFIGURATION
from towerlog.config import MEANINGS

DEPLOY = Path(__file__).parents[1] / "deploy"
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
    assert f"RestartPreventExitStatus={CONFIGURATION}\n" in text
