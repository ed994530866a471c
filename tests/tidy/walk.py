"""Warm requests, traced through the files of the package: what the law bounds and what ARCHITECTURE.md prints.

    python -m tests.tidy.walk              # one line for each walk: files, stays, returns
    python -m tests.tidy.walk followed     # one walk as JSON: files with their functions, stays, returns

A process of its own starts the server as `towerlog serve` does (settings, socket, connection, writing thread, disk),
warms it up and then traces each of `REQUESTS` on a kept connection: from the first byte sent until the reply is read,
and with a follower until its frame is read as well. A profile hook in every thread notes each call of a Python function
under `src/towerlog`, in the order of time.

How it is counted:

- A *stay* is a run of calls, one after the other, into functions of one file. Two stays follow each other where a call
  enters another file. A coroutine that is resumed is entered again, and so is every coroutine that waits for it.
- *files* is the number of distinct files; *stays* the number of stays; *returns* how many stays are in a file that was
  left before: `returns = stays - files`.
- The way back of a `return` statement is no stay: it enters no function.

What timers do meanwhile is left out: calls below a coroutine of `TIMERS`. What still differs between traces (a key
that is checked anew, a checkpoint of the database, a cache of the second) is rare, so the request is traced `TRACES`
times and the most frequent trace is the walk.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "towerlog"

KEPT = ROOT / ".pytest_cache" / "walks"

TIMERS = ("server.py", "asgi/ticker.py", "engine/timers/", "asgi/process/loop_watch.py")
"""Where the coroutines are that a timer resumes, whether or not a request is there."""

TRACES = 15
WARM_UPS = 20
TIMEOUT_S = 60.0
SETTLED_S = 0.02
ADMIN_KEY = "adm_" + "0123456789abcdefghijklmnopqrstuvwxyzABCD"

Call = tuple[str, str]
"""A file relative to the package, and the qualified name of a function in it."""


@dataclass(frozen=True)
class Request:
    """One event as a program reports it. `NUMBER` and `MARK` in its texts are others each time it is sent."""

    path: str
    body: dict[str, Any]
    before: dict[str, Any] | None = None
    """What the same program reports shortly before it, untraced."""


def mark_of(number: int) -> str:
    """A text that the `number`th event alone contains."""
    return f"output-{number:06}"


def body_text(body: dict[str, Any], number: int) -> bytes:
    """A body as it is sent as the `number`th event."""
    return json.dumps(body).replace("MARK", mark_of(number)).replace('"NUMBER"', str(number)).encode()


def _of_steps(event_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"event_type": event_type, "sdk_run_id": event_type, "event_id": "MARK", "payload": payload}


def _native(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {"event_id": "MARK", "client_seq": "NUMBER", "run_key": event_type, "type": event_type, "data": data}
    return {"client_id": event_type, "events": [event]}


_PREVIEWS = {"tool_name": "ls", "input_preview": "MARK", "output_preview": "MARK"}
_CALL_BEGINS = _of_steps("tool_call", {**_PREVIEWS, "phase": "start"})
_CALL_ENDS = _of_steps("tool_call", {**_PREVIEWS, "phase": "end"})
_USAGE = {"model": "gpt-4o", "input_tokens": 10, "output_tokens": 5}

REQUESTS: dict[str, Request] = {
    "alone": Request("/api/ingest", _CALL_ENDS, before=_CALL_BEGINS),
    "step": Request("/api/ingest", _of_steps("step", {"node_name": "s", "detail": "MARK"})),
    "error": Request("/api/ingest", _of_steps("error", {"error_message": "MARK"})),
    "native step": Request("/api/v1/events", _native("step", {"name": "MARK"})),
    "native model call": Request("/api/v1/events", _native("model.call", _USAGE)),
    "followed": Request("/api/ingest", _CALL_ENDS, before=_CALL_BEGINS),
}
"""What is traced, in this order. `followed`: while somebody follows the run. Each type has a run of its own."""
CEILINGS: dict[str, tuple[int, int]] = {
    "alone": (25, 30),
    "step": (25, 30),
    "error": (45, 75),
    "native step": (32, 62),
    "native model call": (60, 183),
    "followed": (36, 34),
}
"""Files of ours that a warm request may pass, and how often it may come back to one that it has left. STYLE.md prints
them. The first two stay as they are; another one rises only with what needs it, and the commit says why. `followed`:
the stream of a follower is woken by the commit and sends its frame before the walk ends."""


@dataclass(frozen=True)
class Walk:
    """The calls of one request, in the order of time."""

    calls: tuple[Call, ...]

    @property
    def stays(self) -> list[str]:
        """The file of each stay."""
        return [file for file, _ in groupby(file for file, _ in self.calls)]

    @property
    def files(self) -> list[str]:
        """The distinct files, in the order in which they were first entered."""
        return list(dict.fromkeys(file for file, _ in self.calls))

    @property
    def returns(self) -> int:
        """Stays in a file that was left before."""
        return len(self.stays) - len(self.files)

    def functions(self, file: str) -> list[str]:
        """The functions of a file that were called, in the order of their first call; nameless ones are left out."""
        return list(dict.fromkeys(name for found, name in self.calls if found == file and "<" not in name))


class Recorder:
    """The profile hook: notes calls into the package while it is armed."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.armed = False
        self._prefix = f"{PACKAGE}{os.sep}"
        self._timers = tuple(f"{PACKAGE}{os.sep}{timer}" for timer in TIMERS)

    def install(self) -> None:
        """In this thread and in every one that is started from now on."""
        threading.setprofile(self.hook)
        sys.setprofile(self.hook)

    @staticmethod
    def remove() -> None:
        """From this thread and from those that are started from now on."""
        sys.setprofile(None)
        threading.setprofile(None)

    def hook(self, frame: FrameType, event: str, argument: object) -> None:
        """Called by the interpreter for each call and return."""
        if self.armed and event == "call":
            code = frame.f_code
            if code.co_filename.startswith(self._prefix) and not self._is_of_timer(frame):
                self.calls.append((code.co_filename.removeprefix(self._prefix), code.co_qualname))

    def _is_of_timer(self, frame: FrameType) -> bool:
        """Whether a coroutine of `TIMERS` is among the callers. Their plain functions may be, as `server.run` is."""
        caller: FrameType | None = frame
        while caller is not None:
            code = caller.f_code
            if code.co_flags & inspect.CO_COROUTINE and code.co_filename.startswith(self._timers):
                return True
            caller = caller.f_back
        return False

    def take(self) -> Walk:
        """What was noted; begins anew."""
        self.armed = False
        walk, self.calls = Walk(tuple(self.calls)), []
        return walk


class Caller(threading.Thread):
    """The client: sends the requests from a thread of its own and, at the end, stops the server in the main thread."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(name="caller")
        self.walks: dict[str, Walk] = {}
        self.failure: BaseException | None = None
        self._recorder = recorder
        self._port = 0
        self._sent = 0

    def begin(self, url: str) -> None:
        """Called once, when the server listens."""
        self._port = int(url.rpartition(":")[2])
        self.start()

    def run(self) -> None:
        """Traces each request, the last one with a follower."""
        sys.setprofile(None)
        try:
            with self._connect() as sender:
                for name, request in REQUESTS.items():
                    with self._follow() if name == "followed" else nullcontext() as follower:
                        for _ in range(WARM_UPS):
                            self._trace(request, sender, follower)
                        self.walks[name] = self._walk(request, sender, follower)
        except BaseException as failure:
            self.failure = failure
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_S)

    def _walk(self, request: Request, sender: socket.socket, follower: socket.socket | None) -> Walk:
        """The most frequent of several traces; the shortest of those that are equally frequent."""
        found = Counter(self._trace(request, sender, follower) for _ in range(TRACES))
        return max(found, key=lambda walk: (found[walk], -len(walk.calls)))

    def _trace(self, request: Request, sender: socket.socket, follower: socket.socket | None) -> Walk:
        """Sends what comes before the request and then the request, whose walk it gives."""
        if request.before is not None:
            self._report(request.path, request.before, sender, follower)
            self._settle()
        self._recorder.calls.clear()
        self._recorder.armed = True
        self._report(request.path, request.body, sender, follower)
        self._settle()
        return self._recorder.take()

    def _report(self, path: str, body: dict[str, Any], sender: socket.socket, follower: socket.socket | None) -> None:
        self._sent += 1
        reply = _exchange(sender, "POST", path, body_text(body, self._sent))
        assert reply.get("status") == "ok" or reply["results"][0]["status"] == "stored", reply
        if follower is not None:
            _read_until(follower, mark_of(self._sent).encode())

    def _follow(self) -> socket.socket:
        """Opens the stream of the run of the tool calls, as a browser does."""
        with self._connect() as asking:
            runs = _exchange(asking, "GET", "/api/v1/runs")["data"]
        [run_id] = [run["run_id"] for run in runs if run["thread_id"] == "tool_call"]
        follower = self._connect()
        follower.sendall(_request("GET", f"/v1/runs/{run_id}/events", b""))
        _read_until(follower, b"tool_name")
        return follower

    def _settle(self) -> None:
        """Waits until the server has finished what it does after its reply: two looks find no call between them."""
        pause = threading.Event()
        seen = -1
        while seen != (seen := len(self._recorder.calls)):
            pause.wait(SETTLED_S)


def _request(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def _exchange(connection: socket.socket, method: str, path: str, body: bytes = b"") -> Any:
    """The JSON of a reply. Head and body of the request are sent in one piece, as most clients do."""
    connection.sendall(_request(method, path, body))
    head, _, rest = _read_until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
    names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(rest) < int(names[b"content-length"]):
        rest += connection.recv(65536)
    return json.loads(rest)


def _read_until(connection: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        more = connection.recv(65536)
        assert more, f"closed after {received!r}"
        received += more
    return received


def serve_and_trace() -> dict[str, Walk]:
    """The walks of `REQUESTS`. Needs the main thread of a process that does nothing else."""
    from towerlog import server
    from towerlog.config import Settings

    recorder = Recorder()
    caller = Caller(recorder)
    recorder.install()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(port=0, data_dir=folder, bootstrap_key=ADMIN_KEY, steps_rate_per_minute=100_000)
        server.run(settings, lambda started: caller.begin(started.url))
    caller.join()
    if caller.failure is not None:
        raise caller.failure
    return caller.walks


@functools.cache
def traced() -> dict[str, Walk]:
    """The walks of `REQUESTS`, from a process of its own. Raises RuntimeError when its server fails.

    Several processes of a run need them, and the next run needs the same: the first that asks has them traced, and they
    are kept in KEPT until something changes of what they are made of.
    """
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        calls, _, made_of = file.read().rpartition("\n")
        if made_of != _made_of():
            calls = _traced_anew()
            file.truncate(0)
            file.write(f"{calls}\n{_made_of()}")  # the digest last: what was written in part has none
    found = json.loads(calls)
    return {name: Walk(tuple((file, function) for file, function in calls)) for name, calls in found.items()}


def _traced_anew() -> str:
    command = [sys.executable, "-m", "tests.tidy.walk", "--calls"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S * 2, check=False)
    if done.returncode:
        raise RuntimeError(f"the traced server failed:\n{done.stderr}")
    return done.stdout


@functools.cache
def _made_of() -> str:
    """A digest of the program, of what traces it, and of what it runs on."""
    digest = hashlib.sha256(sys.version.encode())
    for path in (*sorted(PACKAGE.rglob("*.py")), Path(__file__), ROOT / "constraints.txt"):
        digest.update(path.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main(name: str = "") -> None:
    """Writes one walk to standard output, or the figures of all of them; `--calls`: all of them, call by call."""
    walks = serve_and_trace()
    match name:
        case "":
            for each, walk in walks.items():
                figures = f"{len(walk.files)} files, {len(walk.stays)} stays, {walk.returns} returns"
                sys.stdout.write(f"{each}: {figures}\n")
        case "--calls":
            json.dump({each: walk.calls for each, walk in walks.items()}, sys.stdout)
        case _:
            walk = walks[name]
            files = {file: walk.functions(file) for file in walk.files}
            json.dump({"files": files, "stays": len(walk.stays), "returns": walk.returns}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
