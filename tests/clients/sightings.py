"""What a client in another process says that it has seen: a JSON object a line, or a POST each from a page."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from tests.clients.tools import HERE, node_modules, program
from tests.support.server import wait_for_exit
from tests.support.wait import wait_until

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript"}
PAGE = MappingProxyType({"/": HERE / "page.html"})
"""Path → file: the page that follows a run."""


class Sightings:
    """What was seen so far, in order."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def of(self, kind: str) -> list[Any]:
        """All of a kind: `seq`, `end`, `opened`, `empty`, `error`, `closed`, `reconnecting`."""
        return [seen[kind] for seen in list(self.all) if kind in seen]

    def until(self, kind: str, count: int = 1) -> list[Any]:
        """Waits until so many of a kind were seen."""
        wait_until(lambda: len(self.of(kind)) >= count, f"{count} × {kind} in {self.all}")
        return self.of(kind)


@contextmanager
def npm_client(library: str, url: str, key: str, *options: str, script: str = "follow.mjs") -> Iterator[Sightings]:
    """A client of npm that follows a stream, or live push, in Node.js."""
    node_modules()
    seen = Sightings()
    process = subprocess.Popen(
        [program("node"), script, library, url, key, *options],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None

    def read(lines: Any) -> None:
        for line in lines:
            seen.all.append(json.loads(line) if line.startswith(b"{") else {"error": line.decode()})

    reader = threading.Thread(target=read, args=(process.stdout,))
    reader.start()
    try:
        yield seen
    finally:
        process.kill()
        process.wait()
        reader.join(30)
        process.stdout.close()


class _Page(BaseHTTPRequestHandler):
    """Serves a page and its files, and takes down what it says."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Sightings]
    files: ClassVar[Mapping[str, Path]]

    def do_GET(self) -> None:
        file = self.files.get(self.path.partition("?")[0])
        if file is None:
            self._reply(404, b"")
        else:
            self._reply(200, file.read_bytes(), TYPES[file.suffix])

    def do_POST(self) -> None:
        self.seen.all.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._reply(200, b"")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: what matters is in `seen`."""

    def _reply(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def page_server(files: Mapping[str, Path] = PAGE) -> Iterator[tuple[str, Sightings]]:
    """The origin of a page that is not the server's, and what the page says that it has seen: a POST each."""
    seen = Sightings()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), type("Page", (_Page,), {"seen": seen, "files": files}))
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}", seen
    finally:
        listener.shutdown()
        thread.join(30)
        listener.server_close()


@contextmanager
def chromium(address: str, profile: Path) -> Iterator[None]:
    """Chromium with a page open."""
    port = "--remote-debugging-port=0"  # without it a headless browser prints the page and leaves
    command = [program("chromium"), *CHROMIUM_FLAGS, port, f"--user-data-dir={profile}", address]
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            if not wait_for_exit(process, 30):
                process.kill()
                process.wait()
