"""A collector of OpenTelemetry for tests: a real HTTP server that reads what comes by OTLP's own package."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.ports import HeldPort

Answer = Callable[[list[Span]], tuple[int, bytes]]


def taking(_spans: list[Span]) -> tuple[int, bytes]:
    """All of it."""
    return 200, ExportTraceServiceResponse().SerializeToString()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever sent it was killed meanwhile.
            return
        status, reply = self.server.collector.take(self, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name is http.server's
        pass


class _Server(ThreadingHTTPServer):
    collector: TraceCollector
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not this server's trouble."""


class TraceCollector:
    """Listens from `start` to `stop`, again and again on one port; what it has taken it keeps."""

    def __init__(self) -> None:
        self._held = HeldPort()
        self.url = self._held.url
        self.answer: Answer = taking
        self.lock = threading.Lock()
        self.tries = 0
        self.sizes: list[int] = []
        """Bytes of the requests that were taken."""
        self.spans: list[Span] = []
        """Of the requests that were taken, in the order in which they came."""
        self.paths: set[str] = set()
        self.headers: list[dict[str, str]] = []
        self.orgs: set[str] = set()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def take(self, handler: _Handler, body: bytes) -> tuple[int, bytes]:
        """Reads a request, raises for what is none."""
        assert handler.headers["Content-Type"] == "application/x-protobuf"
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        with self.lock:
            self.tries += 1
            self.paths.add(handler.path)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            status, reply = self.answer(spans)
            if status == 200:
                self.sizes.append(len(body))
                self.spans += spans
                for one in request.resource_spans:
                    told = {pair.key: pair.value.string_value for pair in one.resource.attributes}
                    assert told["service.name"] == "towerlog"
                    self.orgs.add(told["towerlog.org.id"])
            return status, reply

    def roots(self) -> list[str]:
        """The runs whose end was taken, as often as it was."""
        with self.lock:
            attributes = [pair for span in self.spans for pair in span.attributes]
        return [pair.value.string_value for pair in attributes if pair.key == "towerlog.run.id"]

    def start(self) -> TraceCollector:
        """Listens."""
        self._server = _Server(("127.0.0.1", self._held.number), _Handler)
        self._server.collector = self
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Nobody listens there any more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def close(self) -> None:
        """Gives the port back."""
        self.stop()
        self._held.close()


def collecting() -> Iterator[TraceCollector]:
    """One that listens; for a fixture."""
    collector = TraceCollector()
    try:
        yield collector.start()
    finally:
        collector.close()
