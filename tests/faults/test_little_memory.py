"""Whichever function of a request's way finds too little memory: 503 and no 500, and the next request is served.

In turn each call of a function of ours, by the event loop's thread, raises MemoryError in place of being carried out.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import apsw
import pytest

import towerlog
from tests.asgi.conversation import ADMIN_KEY
from tests.asgi.sockets import listening
from tests.support.wait import DEADLINE_S
from towerlog.ambient import SystemClock, SystemIds
from towerlog.asgi.app import App
from towerlog.config import Settings
from towerlog.server import build

OURS = str(Path(towerlog.__file__).parent)
BESIDE = ("/engine/timers/", "/engine/core.py", "/asgi/ticker.py", "/asgi/process/", "/ambient.py")
"""What goes on by itself, and is no part of a request's way."""
STEP = {"event_type": "step", "sdk_run_id": "r", "agent_name": "a", "payload": {"node_name": "n", "mark": "NUMBER"}}
SENT = {"event_id": "NUMBER", "run_key": "n", "type": "step", "data": {"name": "n", "mark": "NUMBER"}}
NATIVE = {"client_id": "c", "events": [SENT]}
REQUESTS: dict[str, tuple[str, str, Any]] = {
    "steps": ("POST", "/api/ingest", STEP),
    "native": ("POST", "/api/v1/events", NATIVE),
}


class Lack:
    """Raises MemoryError in place of a call, by its number; where that was."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.place: str | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        # What goes on after an `await` was called before.
        if event != "call" or not code.co_filename.startswith(OURS) or frame.f_lineno != code.co_firstlineno:
            return
        place = f"{code.co_filename.removeprefix(OURS)}:{code.co_qualname}"
        if place.startswith(BESIDE):
            return
        if self._left == 0 and self.place is None:
            self.place = place
            raise MemoryError
        self._left -= 1


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    clock = SystemClock()
    rates = {"steps_rate_per_minute": 0, "lanes_rate_per_minute": 0, "otlp_rate_per_minute": 0}
    made, _ = build(Settings(data_dir=str(tmp_path), bootstrap_key=ADMIN_KEY, **rates), clock, SystemIds(clock))
    await made.start()
    yield made
    await made.stop()


async def status_of(port: int, name: str, lack: Lack | None = None) -> int:
    """Of the reply; 0 where the connection was cut without one."""
    method, path, value = REQUESTS[name]
    body = b"" if value is None else json.dumps(value).encode().replace(b"NUMBER", uuid.uuid4().hex.encode())
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sys.settrace(lack)
    try:
        writer.write(head.encode() + body)
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0
    finally:
        sys.settrace(None)
        writer.close()
    status = int(told[9:12])
    assert status != 503 or b"retry-after: " in told.lower()
    return status


@pytest.mark.parametrize("each", [23])
@pytest.mark.parametrize("name", REQUESTS)
async def test_whatever_lacks_memory_is_no_fault_of_the_server_and_the_next_request_is_served(
    app: App, tmp_path: Path, name: str, each: int
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it tells of connections that are cut
    async with listening(app) as port:
        good = await status_of(port, name)
        assert good < 300
        refused = 0
        for at in count(each // 2, each):
            lack = Lack(at)
            got = await status_of(port, name, lack)
            if lack.place is None:
                break
            # What cannot even read the request cuts its connection.
            assert got in (good, 503) or (got == 0 and lack.place.startswith("/asgi/")), (at, lack.place, got)
            assert await status_of(port, name) == good, (at, lack.place)
            refused += got == 503
        assert refused
    with closing(apsw.Connection(str(tmp_path / "towerlog.db"))) as db:
        twice = db.execute("SELECT data FROM event WHERE type = 'step' GROUP BY data HAVING count(*) > 1").fetchall()
    assert not twice
