"""A listener in this process for an application of a test's own, behind the connection that the product uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from tests.support.wait import wait_until_async
from towerlog.asgi.connection import Connection
from towerlog.asgi.process.sockets import listen


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """Serves the application until the end; its port."""
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False
    )
    server, listener = uvicorn.Server(config), listen("127.0.0.1", 0)
    task = asyncio.create_task(server._serve([listener]))
    await wait_until_async(lambda: server.started, "the server")
    yield listener.getsockname()[1]
    server.should_exit = True
    await task
    listener.close()
