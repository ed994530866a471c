"""Where clients of the Model Context Protocol ask. The extra `mcp` brings what speaks it, imported on need."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any, Protocol

import structlog

from towerlog.asgi.guard.cors import Cors
from towerlog.asgi.pages.mcp.inner import Serve
from towerlog.asgi.pages.mcp.messages import fault_of
from towerlog.asgi.pages.mcp.tools import Tools
from towerlog.asgi.routes import PageRoute, PageVisit, RouteTable
from towerlog.dialects.base import Reply
from towerlog.dialects.native.keys import ANYBODY
from towerlog.errors import Forbidden, NotFound, TooLarge

MAX_MESSAGE_BYTES = 256 * 1024
"""Of one message of a client: an answer of a person is the longest thing that it has to say."""
WITHOUT = "MCP needs the extra `mcp`, which this server was installed without: pip install '.[mcp]' in a checkout"

_log = structlog.get_logger("towerlog.mcp")


class Speaker(Protocol):
    """What speaks the protocol."""

    async def start(self) -> None:
        """Ready for requests."""
        ...

    async def stop(self) -> None:
        """Ends what is under way."""
        ...

    async def answer(self, visit: PageVisit) -> Reply:
        """The reply to one message of a client."""
        ...


class McpPage:
    """`POST /mcp`. Its caller needs a key; what the key may do is asked again of each tool's own endpoint."""

    def __init__(self) -> None:
        """Until `attach` nobody is served."""
        self._of_server: tuple[RouteTable, Serve] | None = None
        self._cors: Cors | None = None
        self._speaker: Speaker | None = None
        self._is_missing = False
        self._loading = asyncio.Lock()

    def attach(self, table: RouteTable, serve: Serve, cors: Cors) -> None:
        """`serve` answers requests on the routes of the table; `cors` says of which origins pages may ask."""
        self._of_server, self._cors = (table, serve), cors

    def route(self) -> PageRoute:
        """The page. No part of the OpenAPI document, which has no words for a protocol inside a body."""
        return PageRoute(
            "POST",
            "/mcp",
            "mcp",
            "The Model Context Protocol, over streamable HTTP: tools and resources for an assistant.",
            self._answer,
            ANYBODY,
            is_described=False,
            refuses=(TooLarge,),
        )

    async def _answer(self, visit: PageVisit) -> Reply:
        assert self._cors is not None
        if not self._cors.lets_in(visit.headers):
            raise Forbidden("Pages of this origin may not ask: name it in TOWERLOG_CORS_ORIGINS.")
        if len(visit.body) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"A message may have at most {MAX_MESSAGE_BYTES} bytes.")
        speaker = self._speaker or await self._loaded()
        return fault_of(visit.body) or await speaker.answer(visit)

    async def _loaded(self) -> Speaker:
        """Who speaks the protocol. Raises NotFound where the extra is not installed."""
        async with self._loading:
            if self._speaker is None and not self._is_missing:
                assert self._of_server is not None
                try:
                    # Beside the event loop: it brings many modules.
                    speaker = await asyncio.to_thread(_load, *self._of_server)
                except ImportError as error:
                    self._is_missing = True
                    _log.info("mcp is not there", missing=error.name)
                else:
                    await speaker.start()
                    self._speaker = speaker
        if self._speaker is None:
            raise NotFound("route", WITHOUT)
        return self._speaker

    async def stop(self) -> None:
        """Ends what is under way."""
        if self._speaker is not None:
            await self._speaker.stop()
            self._speaker = None


def _load(table: RouteTable, serve: Serve) -> Speaker:
    module: Any = import_module("towerlog.asgi.pages.mcp.protocol")
    speaker: Speaker = module.Protocol(Tools(table, serve))
    return speaker
