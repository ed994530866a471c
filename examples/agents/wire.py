"""The little HTTP that the agents beside this file need; nothing but the standard library.

`Wire` sends JSON with a key, waits when the server says so, and repeats what got no answer. Repeating is safe because
every event carries an id of its own: the server stores an id once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

TRIES = 8
TIMEOUT_S = 90.0


class Refused(Exception):
    """The server understood, and said no."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class Wire:
    """A server's address and a key."""

    def __init__(self, url: str = "", key: str = "") -> None:
        """Absent: TOWERLOG_URL and TOWERLOG_API_KEY of the environment."""
        self.url = (url or os.environ.get("TOWERLOG_URL", "http://127.0.0.1:8700")).rstrip("/")
        self.key = key or os.environ.get("TOWERLOG_API_KEY") or sys.exit("Set TOWERLOG_API_KEY to an API key.")

    def get(self, path: str) -> Any:
        """The reply's JSON."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """The reply's JSON; None where it has no body."""
        return self._call("POST", path, body)

    def delete(self, path: str) -> Any:
        """The reply's JSON; None where it has no body."""
        return self._call("DELETE", path, None)

    def follow(self, path: str) -> Iterator[dict[str, Any]]:
        """Every event of a run's stream, once, until the run has ended; a lost connection goes on where it was."""
        seen = 0
        while True:
            try:
                with self._open(self._request("GET", f"{path}?after_seq={seen}", None)) as reply:
                    for line in reply:
                        if line == b"event: end\n":
                            return
                        if line.startswith(b"data: "):
                            event = json.loads(line[len(b"data: ") :])
                            seen = event["seq"]
                            yield event
            except (OSError, HTTPException):
                time.sleep(1.0)

    def _open(self, request: urllib.request.Request) -> Any:
        # A proxy of the environment is for the world, not for a server on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(request, timeout=TIMEOUT_S)

    def _request(self, method: str, path: str, body: Any) -> urllib.request.Request:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.Request(self.url + path, data, headers, method=method)

    def _call(self, method: str, path: str, body: Any) -> Any:
        request, wait_s = self._request(method, path, body), 0.2
        for last in [False] * (TRIES - 1) + [True]:
            try:
                with self._open(request) as reply:
                    answer = reply.read()
                    return json.loads(answer) if answer else None
            except urllib.error.HTTPError as error:
                told = error.read().decode(errors="replace")
                if error.code not in {429, 503} or last:
                    raise Refused(error.code, told) from None
                wait_s = float(error.headers.get("Retry-After") or wait_s)
            except (OSError, HTTPException) as error:
                if last:
                    sys.exit(f"{self.url} cannot be reached: {error}")
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, 5.0)
        raise AssertionError("unreachable")


def fresh_id() -> str:
    """An id for one event."""
    return str(uuid.uuid4())


def folder_of(usage: str | None) -> Path:
    """The folder that the command line names, else the current one. `-h` prints the usage and ends the program."""
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=".", type=Path, help="default: the current folder")
    given: Path = parser.parse_args().folder
    return given.resolve()


RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-([0-9a-f]{12})")
COLUMNS = 80
INDENT = " " * 23


def say(agent: str, text: str) -> None:
    """A line for whoever watches the terminal, or several where it is long. Of a run's id the end tells it apart."""
    shown = RUN_ID.sub(r"…\1", text)
    line = f"{time.strftime('%H:%M:%S')}  {agent:<11}  {shown}"
    print(textwrap.fill(line, COLUMNS, subsequent_indent=INDENT, break_on_hyphens=False), flush=True)
