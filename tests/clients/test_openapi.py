"""The OpenAPI document as tools of others read it: linted without a word, and clients generated from it type-check.

spectral, redocly, openapi-typescript and tsc are npm packages, openapi-python-client and mypy packages of Python:
`tools.py` says where they come from.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.clients.tools import HERE, NODE_MODULES, npm_program, python_program
from towerlog.asgi.pages import Pages
from towerlog.asgi.pages.openapi import build_document
from towerlog.asgi.routes import RouteTable
from towerlog.dialects import DIALECTS
from towerlog.dialects.native import NATIVE

DEADLINE_S = 600.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document in a file."""
    table = RouteTable((*DIALECTS, NATIVE), Pages(metrics_public=False).routes(), NATIVE)
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_bytes(msgspec.json.encode(build_document(table)))
    return file


def done(command: list[str], folder: Path = HERE) -> str:
    """What a command prints, which has to succeed."""
    path = os.pathsep.join([str(HERE / ".venv" / "bin"), os.environ["PATH"]])
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout[-6000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout + ran.stderr


def test_spectral_finds_nothing(document: Path) -> None:
    lint = [*npm_program("spectral"), "lint", "-r", str(HERE / "spectral.yaml"), "--fail-severity=hint"]
    assert "No results" in done([*lint, str(document)])


def test_redocly_finds_nothing(document: Path) -> None:
    lint = [*npm_program("redocly"), "lint", "--config", str(HERE / "redocly.yaml")]
    said = done([*lint, str(document)])
    assert "is valid" in said
    assert "warning" not in said.lower().replace("deprecation warning", "")


def test_generated_typescript_takes_what_the_server_takes(document: Path, tmp_path: Path) -> None:
    done([*npm_program("openapi-typescript"), str(document), "-o", str(tmp_path / "api.ts")])
    for name in ("bodies.ts", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    done([*npm_program("tsc"), "--project", str(tmp_path / "tsconfig.json")])


def test_a_generated_python_client_type_checks_and_reads_streams(document: Path, tmp_path: Path) -> None:
    made = tmp_path / "client"
    said = done(
        [python_program("openapi-python-client"), "generate", "--path", str(document), "--output-path", str(made)]
    )
    # It knows no NDJSON and no protobuf, and says so of the endpoints that also take them; of nothing else.
    unknown = [said.count(f"Unsupported content type application/x-{name}") for name in ("ndjson", "protobuf")]
    assert (said.count("WARNING"), unknown) == (4, [1, 3])
    shutil.copy(HERE / "use_client.py", made)
    done([python_program("mypy"), "--strict-optional", "towerlog_client", "use_client.py"], made)
    shutil.copy(HERE / "read_streams.py", made)
    done([python_program("python"), "read_streams.py", str(document)], made)
