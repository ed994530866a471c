"""The package as users install it: one package without dependencies. The SDK works on it, the rest names its extra.

The wheel is built once and installed into a folder; its programs run without site-packages. Nothing needs a network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from email.parser import Parser
from pathlib import Path

import pytest

from tests.sdk.support.ingest_server import KEY, Ingest
from towerlog.cli.exits import UNAVAILABLE

ROOT = Path(__file__).parents[1]
LIMIT_S = 300
SERVER_PACKAGES = {
    "aiosmtplib", "anyio", "apsw", "argon2-cffi", "genai-prices", "httptools", "joserfc", "jsonschema-rs",
    "markdown-it-py", "msgspec", "opentelemetry-proto", "prometheus-client", "protobuf", "structlog", "uvicorn",
    "uvloop", "websockets", "zstandard",
}  # fmt: skip
CLI_PACKAGES = {"click", "rich"}

REPORT = """
import sys, towerlog
from towerlog.sdk.api import async_client, client, fleet_shapes
from towerlog.sdk.work import app, worker
with towerlog.record_run(agent="alone", thread="t") as run:
    run.step("mark")
assert towerlog.flush(20), towerlog.status()
outside = [name for name, module in sys.modules.items() if "site-packages" in str(getattr(module, "__file__", ""))]
assert not outside, outside
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    folder = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], {})
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel alone was installed."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    _run([*pip, "--target", str(target), str(wheel)], {})
    return target


def _run(command: list[str], env: Mapping[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_wheel_has_the_dashboard_that_was_built(tmp_path: Path) -> None:
    """Git leaves it out; a release must not."""
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    package = tmp_path / "src" / "towerlog"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    built = ["towerlog/asgi/pages/ui/index.html", "towerlog/asgi/pages/ui/assets/app-1.js.br"]
    for name in built:
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(b"x")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"], {}, tmp_path)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert set(built) <= set(archive.namelist())


def alone(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Python with nothing but its standard library and the installed folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOWERLOG_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def requirements(wheel: Path) -> dict[str, set[str]]:
    """Extra → the packages that it brings; without an extra, those that come always."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    found: dict[str, set[str]] = {extra: set() for extra in ("", *metadata.get_all("Provides-Extra", []))}
    for line in metadata.get_all("Requires-Dist", []):
        package, _, condition = line.partition(";")
        extra = condition.partition("'")[2].rstrip("'") if "extra" in condition else ""
        found[extra].add(re.split(r"[ <>=!~]", package.strip(), maxsplit=1)[0])
    return found


def test_the_package_needs_nothing_and_its_extras_bring_what_they_say(wheel: Path) -> None:
    found = requirements(wheel)
    assert found[""] == set()
    assert found["cli"] == CLI_PACKAGES
    assert found["server"] == CLI_PACKAGES | SERVER_PACKAGES
    assert found["dev"] > found["server"], "`make setup` installs everything"


def test_the_sdk_reports_with_the_package_alone(folder: Path, tmp_path: Path) -> None:
    server = Ingest()
    try:
        env = {"TOWERLOG_URL": server.url, "TOWERLOG_API_KEY": KEY, "XDG_STATE_HOME": str(tmp_path)}
        done = alone(folder, "-c", REPORT, **env)
        assert done.returncode == 0, done.stderr
        assert [event["type"] for event in server.events] == ["run.started", "step", "run.completed"]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("arguments", "extra"), [(["serve"], "server"), (["worker", "--app", "a:b"], "cli"), (["--help"], "cli")]
)
def test_a_command_without_its_packages_says_in_one_line_what_to_install(
    folder: Path, arguments: list[str], extra: str
) -> None:
    for program in (["-m", "towerlog"], [str(folder / "bin" / "towerlog")]):
        done = alone(folder, *program, *arguments)
        assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.endswith(f"pip install '.[{extra}]' in a checkout\n")


def test_the_version_of_uvicorn_is_bounded_to_what_was_tested(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().splitlines()
    [bound] = [line for line in lines if line.startswith("Requires-Dist: uvicorn") and "'server'" in line]
    assert "<" in bound
    assert ">=0.45" in bound
