"""The curl of the tests does what its command line says."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.curl import FORM, REFUSALS_FAIL, parse, request_of
from tests.support.launcher import put_on_path


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; /missing is not there."""

    def reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write(f"{self.command} {self.path} {self.headers.get('X-A')} ".encode() + body)

    do_GET = do_POST = do_DELETE = reply  # noqa: N815 - the names that the base class looks for

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    put_on_path(folder)
    command = [str(folder / "curl"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_it_sends_what_it_is_told(tmp_path, echo) -> None:
    assert run(tmp_path, "-sS", "-H", "X-A: b", f"{echo}/x?y=1").stdout == "GET /x?y=1 b "
    assert run(tmp_path, f"{echo}/x", "-d", '{"a":\n1}').stdout == 'POST /x None {"a":1}'
    assert run(tmp_path, "-X", "DELETE", f"{echo}/x").stdout == "DELETE /x None "


def test_an_error_is_a_failure_only_where_it_is_asked_for(tmp_path, echo) -> None:
    assert run(tmp_path, f"{echo}/missing").returncode == 0
    failed = run(tmp_path, "-f", f"{echo}/missing")
    assert (failed.returncode, failed.stdout) == (22, "")
    strict = run(tmp_path, f"{echo}/missing", **{REFUSALS_FAIL: "1"})
    assert (strict.returncode, strict.stdout) == (22, "GET /missing None ")
    assert run(tmp_path, "-i", f"{echo}/missing").stdout.startswith("HTTP/1.1 404 ")


def test_a_body_is_a_form_unless_it_says_otherwise() -> None:
    assert request_of(parse(["http://h/", "-d", "x"])).get_header("Content-type") == FORM


def test_an_option_that_nobody_has_tried_fails(tmp_path) -> None:
    assert run(tmp_path, "--compressed", "http://127.0.0.1:1/").returncode != 0
