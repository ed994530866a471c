"""The package for TypeScript as its tests need it: built, with a real server, and what has that stopped and started."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.clients.tools import install_lock, node_modules, program, searched
from tests.support.server import ADMIN_KEY, Server

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "typescript"
DEADLINE_S = 300.0


def run_in(folder: Path, *command: str, env: Mapping[str, str] | None = None) -> str:
    """What a command prints, which has to succeed."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": searched(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout[-8000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout + ran.stderr


def tsc(project: str, *options: str) -> None:
    """Compiles, or checks, what a `tsconfig` of the package names."""
    run_in(PACKAGE, program("node"), str(node_modules(PACKAGE) / ".bin" / "tsc"), "--project", project, *options)


def built() -> Path:
    """The package with its `dist`, and its tests in `build`, both as the sources are now."""
    node_modules(PACKAGE)
    with install_lock("typescript"):
        stamp = PACKAGE / "node_modules" / ".built"
        sources = [*PACKAGE.glob("src/**/*.ts"), *PACKAGE.glob("test/**/*.ts"), *PACKAGE.glob("*.json")]
        newest = max(path.stat().st_mtime for path in sources)
        if not (PACKAGE / "dist").exists() or not stamp.exists() or stamp.stat().st_mtime < newest:
            tsc("tsconfig.build.json")
            # Their types are checked beside those of the sources, by `test_the_sources_and_the_tests_are_strict`.
            tsc("tsconfig.test.json", "--noCheck")
            stamp.touch()
    return PACKAGE


@contextmanager
def controlled(server: Server) -> Iterator[str]:
    """An address to which `POST /stop`, `/kill`, `/start` and `/restart` have the server do that."""

    class Control(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            act = {"/stop": server.stop, "/kill": server.kill, "/start": server.start, "/restart": server.restart}
            act[self.path]()
            self.send_response(204)
            self.send_header("Connection", "close")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Control)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        thread.join(30)
        listener.server_close()


def node_tests(server: Server, name: str, env: Mapping[str, str] | None = None) -> str:
    """`node --test` over a file of the package's tests, with this server; what it prints."""
    built()
    with controlled(server) as control:
        known = {
            "TOWERLOG_URL": server.base_url,
            "TOWERLOG_API_KEY": ADMIN_KEY,
            "TOWERLOG_TESTS_CONTROL": control,
            **(env or {}),
        }
        command = [
            program("node"),
            "--enable-source-maps",
            "--test",
            "--test-force-exit",
            "--test-reporter=tap",
            f"build/{name}.test.js",
        ]
        return run_in(PACKAGE, *command, env=known)
