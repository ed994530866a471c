"""A proxy that fails after its server has granted a claim: the server knows of the lease, the worker does not."""

from __future__ import annotations

import http.client
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

PATIENCE_S = 90


class _Threads(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True


@contextmanager
def failing_proxy(port: int, status: int) -> Iterator[int]:
    """Passes everything on to a port of this machine; the first claim that is granted is answered with `status`."""
    failed = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            upstream.request(self.command, self.path, body, kept)
            reply = upstream.getresponse()
            text, code = reply.read(), reply.status
            upstream.close()
            if self.path.endswith("/claim") and code == 200 and not failed.is_set():
                failed.set()
                text, code = b"<html>Bad Gateway</html>", status
            self.send_response(code)
            if code != 204:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST  # noqa: N815 the name that the base class calls

    server = _Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
