"""Whether the installed server works as the connection needs it."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from towerlog.asgi.exchange import Respond
from towerlog.errors import UnfitServer

_PROBE = b"POST /probe HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nprobe"


class _ProbeTransport(asyncio.Transport):
    """A transport that goes nowhere and keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True


class _ProbeApp:
    """An application that answers what it can take, and remembers that it could."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def take(self, scope: Any, body: bytes, respond: Respond) -> None:
        self.taken.append(body)
        respond(204, [], b"")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def check_server(protocol: type[asyncio.Protocol]) -> None:
    """Sends one request through a real connection of this class. Raises UnfitServer unless it is taken directly.

    What is used of uvicorn is not public and may change with any version; without it nothing would be answered, or each
    request by a task, and nobody would be told.
    """
    app, transport = _ProbeApp(), _ProbeTransport()
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False)
    state = ServerState()
    try:
        connection: Any = protocol(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
        connection.connection_made(transport)
        connection.data_received(_PROBE)
        taken = app.taken == [b"probe"] and transport.written.startswith(b"HTTP/1.1 204 ")
        connection.connection_lost(None)
        if state.tasks:
            await asyncio.wait(state.tasks)
    except (AttributeError, TypeError) as error:
        raise UnfitServer(f"uvicorn {uvicorn.__version__} cannot be used: {error}") from error
    if not taken:
        raise UnfitServer(
            f"uvicorn {uvicorn.__version__} cannot be used: requests do not come to the server directly; "
            "install a version that towerlog names in its dependencies"
        )
