"""`/docs` as a browser draws it: every endpoint once, what the address names opened, lines that can be copied."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

import pytest

from tests.clients.sightings import CHROMIUM_FLAGS
from tests.clients.tools import program
from tests.support.server import Server

pytestmark = pytest.mark.slow
DEADLINE_S = 120.0


def drawn(address: str, profile: Path) -> str:
    """The page's elements after its script has run."""
    command = [program("chromium"), *CHROMIUM_FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=10000"]
    done = subprocess.run(
        [*command, "--dump-dom", address], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_endpoint_is_there_and_the_one_of_the_address_is_open(fresh_server, tmp_path: Path) -> None:
    server: Server = fresh_server()
    paths = server.client().get("/openapi.json").json()["paths"]
    operations = {one["operationId"]: one for methods in paths.values() for one in methods.values()}
    page = drawn(f"{server.base_url}/docs#runs.create", tmp_path / "profile")
    boxes = re.findall(r'<details id="([^"]+)"([^>]*)>', page)
    assert sorted(name for name, _ in boxes) == sorted(operations)
    assert [name for name, state in boxes if 'open=""' in state] == ["runs.create"]
    tags = {one["tags"][0] for one in operations.values()}
    assert set(re.findall(r'<li><a href="#([^"]+)"', page)) == tags
    lines = [html.unescape(text) for text in re.findall(r"<pre>(curl .*?)</pre>", page, re.DOTALL)]
    assert len(lines) == len(operations)
    syntax = subprocess.run(["bash", "-n"], input="\n".join(lines), capture_output=True, text=True, check=False)
    assert syntax.returncode == 0, syntax.stderr
    assert 'role="status" hidden' in page
