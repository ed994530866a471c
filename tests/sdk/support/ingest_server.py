"""A small real HTTP server that takes events as the native API does, keeps what it got, and misbehaves on order.

It stands for a server that cannot be made to misbehave on order itself. Each entry of `faults` spoils one request;
what is set on the server spoils all of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "key-of-the-tests"
PATIENCE_S = 60.0

Event = dict[str, Any]


class Ingest:
    """What the server holds and how it behaves."""

    def __init__(self, port: int = 0, keep: Ingest | None = None) -> None:
        self.lock = threading.Condition()
        self.events: list[Event] = [] if keep is None else keep.events
        """Stored, in the order of storing; each has its `client_id`."""
        self.ids: dict[str, Event] = {} if keep is None else keep.ids
        self.requests: list[dict[str, Any]] = []
        """Bodies of all requests that were read, with their key and the time of their coming."""
        self.repeats = 0
        self.faults: deque[str] = deque(maxlen=1000)
        self.status = 200
        self.most_events = 500
        self.refuses: Callable[[Event], bool] = lambda event: False
        self.poison: Callable[[Event], bool] = lambda event: False
        self.strange: Callable[[Event], object] = lambda event: ""
        """The status that an event is answered with, stored or not; empty for the usual one."""
        self.pending: list[dict[str, Any]] = []
        self.held = threading.Event()
        self.held.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                # Clients that go away in the middle are what these tests are about.
                pass

        self.http = Quiet(("127.0.0.1", port), Handler)
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.held.set()
        self.http.shutdown()
        self.http.server_close()

    # What the tests ask

    def of(self, run_key: str) -> list[Event]:
        """The stored events of a run, in the order of storing."""
        with self.lock:
            return [event for event in self.events if event["run_key"] == run_key]

    def types(self, run_key: str) -> list[str]:
        return [event["type"] for event in self.of(run_key)]

    def run_keys(self) -> list[str]:
        with self.lock:
            return list(dict.fromkeys(event["run_key"] for event in self.events))

    def told_dropped(self) -> list[tuple[int, int]]:
        """The ranges that clients have said to have dropped."""
        with self.lock:
            payloads = [e["data"]["payload"] for e in self.events if e["data"].get("name") == "client.dropped"]
        return [(payload["from_seq"], payload["to_seq"]) for payload in payloads]

    def command(self, run_key: str, kind: str, content: object = None, question: str | None = None) -> None:
        """Somebody wants something of a run; it is repeated until it is acknowledged. `question`: its key."""
        with self.lock:
            number = 1 + max((each["command_id"] for each in self.pending), default=0) + len(self.requests) * 1000
            wish = {"run_key": run_key, "run_id": f"id-{run_key}", "command_id": number, "type": kind}
            more = {"content": content, "question_key": question}
            self.pending.append({**wish, **{name: value for name, value in more.items() if value is not None}})
            self.lock.notify_all()

    # How it answers

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        came = {**body, "key": request.headers.get("Authorization"), "at": time.monotonic()}
        with self.lock:
            self.requests.append(came)
            fault = self.faults.popleft() if self.faults else ""
        self.held.wait(PATIENCE_S)
        kind, _, detail = fault.partition(":")
        if kind == "drop":
            request.close_connection = True
        elif kind == "lost":
            self._take(body)
            request.close_connection = True
        elif kind == "garbage":
            self._send(request, 200, b"<html>proxy</html>")
        elif kind.isdigit():
            self._send(request, int(kind), b'{"error":{"message":"not now"}}', detail)
        else:
            self._send(request, *self._result(body))

    def _result(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.status != 200:
            return self.status, b'{"error":{"message":"no"}}'
        if len(body["events"]) > self.most_events:
            return 413, b'{"error":{"message":"too large"}}'
        if any(self.poison(event) for event in body["events"]):
            return 400, b'{"error":{"message":"poison"}}'
        results = self._take(body)
        return 200, json.dumps({"results": results, "commands": self._commands(body)}).encode()

    def _take(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        with self.lock:
            results = [self._told(event, body["client_id"]) for event in body["events"]]
            self.lock.notify_all()
        return results

    def _told(self, event: Event, client_id: str) -> dict[str, Any]:
        result, strange = self._one(event, client_id), self.strange(event)
        return result if strange == "" else {**result, "status": strange}

    def _one(self, event: Event, client_id: str) -> dict[str, Any]:
        if event["event_id"] in self.ids:
            self.repeats += 1
            return {"event_id": event["event_id"], "status": "duplicate"}
        if self.refuses(event):
            return {"event_id": event["event_id"], "status": "refused", "code": "invalid", "message": "bad"}
        kept = {**event, "client_id": client_id}
        self.ids[event["event_id"]] = kept
        self.events.append(kept)
        if event["type"] == "command.acknowledged":
            done = event["data"]["command_id"]
            self.pending = [wish for wish in self.pending if wish["command_id"] != done]
        return {"event_id": event["event_id"], "status": "stored"}

    def _commands(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        wanted = {event["run_key"] for event in body["events"]} | set(body.get("runs", ()))
        with self.lock:
            self.lock.wait_for(lambda: self._wishes(wanted), body.get("wait_seconds", 0) or 0)
            return self._wishes(wanted)

    def _wishes(self, run_keys: set[str]) -> list[dict[str, Any]]:
        return [wish for wish in self.pending if wish["run_key"] in run_keys]

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, retry_after: str = "") -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        if retry_after:
            request.send_header("Retry-After", retry_after)
        request.end_headers()
        request.wfile.write(body)
