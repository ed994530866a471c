"""The Model Context Protocol, spoken by its own SDK: the one module that needs it, imported when somebody asks for it.

Each request is answered by itself, in one JSON reply: there are no sessions, so nothing is held between requests.
"""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from towerlog import __version__
from towerlog.asgi.pages.mcp.messages import bounded
from towerlog.asgi.pages.mcp.tools import RUN_URI_TEMPLATE, Tools
from towerlog.asgi.replies import Message
from towerlog.asgi.routes import PageVisit
from towerlog.dialects.base import JSON, Reply

_VISIT = "towerlog.visit"
"""Where the scope of a request has the visit that it belongs to."""
_ABOUT = (
    "Towerlog records and steers runs of AI agents. List or search runs, read one, tail its log, report costs; with a "
    "key of the scope `control`, answer a run's questions and cancel runs. A run is also the resource run://{its id}."
)
_DROPPED = frozenset({b"content-length", b"content-type", b"transfer-encoding", b"connection"})


class _Run(msgspec.Struct):
    run_id: str
    status: str
    agent: str | None
    thread_id: str


class _Runs(msgspec.Struct):
    data: list[_Run]
    next: str | None


_read_runs = msgspec.json.Decoder(_Runs).decode


class Protocol:
    """A server of MCP over one set of tools."""

    def __init__(self, tools: Tools) -> None:
        """Does nothing before `start`."""
        self._tools = tools
        server: Server[Any] = Server(
            "towerlog",
            version=__version__,
            title="Towerlog",
            instructions=_ABOUT,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
        )
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        self._stopped = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ready for requests."""
        ready = asyncio.Event()
        # Its tasks must be entered and left by one and the same task.
        self._life = asyncio.create_task(self._live(ready))
        await ready.wait()

    async def _live(self, ready: asyncio.Event) -> None:
        async with self._manager.run():
            ready.set()
            await self._stopped.wait()

    async def stop(self) -> None:
        """Ends what is under way."""
        self._stopped.set()
        if self._life is not None:
            await self._life

    async def answer(self, visit: PageVisit) -> Reply:
        """The reply to one message of a client."""
        scope: Message = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "query_string": b"",
            "headers": list(visit.headers.items()),
            "client": (visit.address, 0),
            _VISIT: visit,
        }
        asked, status, body, headers = False, 500, bytearray(), list[tuple[bytes, bytes]]()

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await self._stopped.wait()
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": visit.body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            else:
                body.extend(message.get("body", b""))

        await self._manager.handle_request(scope, receive, send)
        kind = next((value.decode("latin-1") for name, value in headers if name.lower() == b"content-type"), JSON)
        kept = tuple((name, value) for name, value in headers if name.lower() not in _DROPPED)
        return Reply(status, bounded(bytes(body)), kind, kept)

    async def _list_tools(self, context: Any, _params: Any) -> types.ListToolsResult:
        principal = _visit_of(context).principal
        assert principal is not None
        found = []
        for tool, schema in self._tools.of(principal):
            hints = types.ToolAnnotations(
                read_only_hint=tool.method == "GET", destructive_hint=tool.is_destructive, open_world_hint=False
            )
            found.append(
                types.Tool(
                    name=tool.name,
                    title=tool.title,
                    description=tool.description,
                    input_schema=schema,
                    annotations=hints,
                )
            )
        return types.ListToolsResult(tools=found)

    async def _call_tool(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if not self._tools.knows(params.name):
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name[:100]!r}.")
        answer = await self._tools.call(_visit_of(context), params.name, params.arguments or {})
        return types.CallToolResult(content=[types.TextContent(text=answer.text)], is_error=answer.is_error)

    async def _list_resources(
        self, context: Any, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        reply = await self._tools.list_runs(_visit_of(context), None if params is None else params.cursor)
        if reply is None:
            return types.ListResourcesResult(resources=[])
        if not reply.is_good:
            raise MCPError(types.INVALID_PARAMS, reply.body.decode("utf-8", "replace")[:1000])
        page = _read_runs(reply.body)
        resources = [
            types.Resource(
                uri=RUN_URI_TEMPLATE.replace("{run_id}", run.run_id),
                name=run.run_id,
                title=f"{run.agent or 'A run'}: {run.status}",
                description=f"A run of the thread {run.thread_id}.",
                mime_type=JSON,
            )
            for run in page.data
        ]
        return types.ListResourcesResult(resources=resources, next_cursor=page.next)

    async def _list_templates(self, _context: Any, _params: Any) -> types.ListResourceTemplatesResult:
        run = types.ResourceTemplate(
            uri_template=RUN_URI_TEMPLATE,
            name="run",
            title="A run",
            description="All that is known of a run, by its id.",
            mime_type=JSON,
        )
        return types.ListResourceTemplatesResult(resource_templates=[run])

    async def _read_resource(self, context: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        answer = await self._tools.read_run(_visit_of(context), params.uri)
        if answer is None:
            raise MCPError(types.INVALID_PARAMS, f"Resources here are runs: {RUN_URI_TEMPLATE}.")
        if answer.is_error:
            raise MCPError(types.INVALID_PARAMS, answer.text)
        contents = types.TextResourceContents(uri=params.uri, mime_type=JSON, text=answer.text)
        return types.ReadResourceResult(contents=[contents])


def _visit_of(context: Any) -> PageVisit:
    visit: PageVisit = context.request.scope[_VISIT]
    return visit
