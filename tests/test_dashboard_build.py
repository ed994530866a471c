"""How the dashboard is built: what it lacks it says in one line, and what was built before stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import build_dashboard
from tools.build_dashboard import NotBuilt


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `ui/` in which nothing is installed yet."""
    folder = tmp_path / "ui"
    (folder / "node_modules").mkdir(parents=True)
    (folder / "package-lock.json").write_text("{}")
    monkeypatch.setattr(build_dashboard, "UI", folder)
    monkeypatch.setattr(build_dashboard, "INSTALLED", folder / "node_modules" / ".installed")
    return folder


def put(folder: Path, name: str, script: str) -> dict[str, str]:
    """A program of this name, and the variables under which it is found first."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_without_a_registry_it_says_what_is_missing(ui: Path, tmp_path: Path) -> None:
    environment = put(tmp_path / "bin", "npm", "exit 1")
    with pytest.raises(NotBuilt, match="needs a registry of npm packages") as refused:
        build_dashboard.install(environment)
    assert "\n" not in str(refused.value)
    assert not build_dashboard.INSTALLED.exists()


def test_packages_are_installed_once(ui: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    environment = put(tmp_path / "bin", "npm", f"echo x >> {calls}")
    build_dashboard.install(environment)
    build_dashboard.install(environment)
    assert calls.read_text() == "x\n"


def test_an_old_node_is_none(tmp_path: Path) -> None:
    environment = put(tmp_path / "bin", "node", "echo v18.19.1")
    assert build_dashboard.node_version(environment["PATH"]) < build_dashboard.OLDEST_NODE
    assert build_dashboard.node_version(str(tmp_path / "nowhere")) == ()
