"""The tools: each is an endpoint of ours under a name, with a part of its parameters. Nothing here knows MCP.

What a tool does, may be asked for and answers is its endpoint's to say: a tool decides nothing, and looks nothing up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from towerlog.asgi.pages.mcp.inner import InnerReply, Serve, ask, path_of, wait_for_news
from towerlog.asgi.pages.schemas import Schema, Schemas
from towerlog.asgi.routes import PageVisit, RouteTable
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Endpoint
from towerlog.model.principal import Principal

MAX_ANSWER_BYTES = 256 * 1024
"""Of an answer that is longer, so much is handed out: a model reads no more of it at a time."""
MAX_WAIT_SECONDS = 30
TAIL_EVENTS = 50
"""Events of `tail_run` when nobody asks for a number."""
RUN_URI = re.compile(r"run://([0-9A-Fa-f-]{36})")
RUN_URI_TEMPLATE = "run://{run_id}"
_PARAMETER = re.compile(r"\{(\w+)\}")


class Tool(msgspec.Struct, frozen=True):
    """An endpoint under the name of a tool."""

    name: str
    method: str
    path: str
    title: str
    description: str
    parameters: tuple[str, ...]
    """Names of its query or its body that may be given; those of its path must be."""
    required: tuple[str, ...] = ()
    waits: bool = False
    """It may wait for something new, and begins at the end when nobody says where."""
    is_destructive: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What a tool answers."""

    text: str
    is_error: bool = False


_OF_RUNS = ("status", "agent", "thread_id", "model", "parent_run_id", "since", "until", "has_errors", "limit", "cursor")
TOOLS = (
    Tool(
        "list_runs", "GET", "/api/v1/runs", "List runs",
        "Runs of agents, newest first, by any filters: status, agent, model, cost, tokens, error of each.", _OF_RUNS,
    ),
    Tool(
        "search_runs", "GET", "/api/v1/runs", "Search runs",
        "Runs that have all words of `q` in their input, result, error, phase, metadata, questions, answers, ids or "
        "agent's name. A page with `searched_to` has not looked at older runs: go on with its `next` as `cursor`.",
        ("q", "metadata", "label", "min_cost_usd", *_OF_RUNS),
    ),
    Tool(
        "get_run", "GET", "/v1/runs/{run_id}", "Read a run",
        "All that is known of a run: its input and result, status, usage, cost, open questions, error.", (),
    ),
    Tool(
        "tail_run", "GET", "/api/v1/runs/{run_id}/events", "Read a run's log",
        "Events of a run in order: messages, tool calls, model calls, questions. Without `after_seq` its newest. With "
        "the `seq` of the last event that you have seen as `after_seq`, and `wait_seconds`, it waits for news.",
        ("after_seq", "type", "limit"), waits=True,
    ),
    Tool(
        "cost_report", "GET", "/api/v1/usage", "Report costs",
        "Tokens, money and counts of runs, added up by hour, agent or model; of the last seven days unless `since` "
        "and `until` say otherwise.",
        ("by", "since", "until", "agent", "model", "limit", "cursor"),
    ),
    Tool(
        "answer_run", "POST", "/v1/runs/{run_id}/input", "Answer a run",
        "Answers a question of a run that waits for a person, or sends a message to its agent. `get_run` has the open "
        "questions.",
        ("content", "question_id", "asked_seq", "type"), ("content",),
    ),
    Tool(
        "cancel_run", "POST", "/v1/runs/{run_id}:cancel", "Cancel a run",
        "Asks a run and its children to end; one that does not is cancelled by force after a while.", ("reason",),
        is_destructive=True,
    ),
)  # fmt: skip
_WAIT: Schema = {
    "type": "integer",
    "minimum": 0,
    "maximum": MAX_WAIT_SECONDS,
    "description": "How long to wait for an event after `after_seq`, if there is none yet.",
}


class _Listed(msgspec.Struct):
    data: list[msgspec.Raw]


class _Seen(msgspec.Struct):
    last_seq: int


_read_listed = msgspec.json.Decoder(_Listed).decode
_read_seen = msgspec.json.Decoder(_Seen).decode


class Tools:
    """The tools on the routes of one server."""

    def __init__(self, table: RouteTable, serve: Serve) -> None:
        """`serve` answers the requests that tools make."""
        self._serve = serve
        self._endpoints = {tool.name: _endpoint_of(table, tool) for tool in TOOLS}
        self._tools = {tool.name: tool for tool in TOOLS}
        self._schemas = {tool.name: _schema_of(tool, self._endpoints[tool.name]) for tool in TOOLS}

    def of(self, principal: Principal) -> list[tuple[Tool, Schema]]:
        """The tools that a caller may use, and what each takes."""
        return [(tool, self._schemas[tool.name]) for tool in TOOLS if self._may(principal, tool.name)]

    def _may(self, principal: Principal, name: str) -> bool:
        return not self._endpoints[name].scopes.isdisjoint(principal.scopes)

    def knows(self, name: str) -> bool:
        """Whether there is a tool of this name."""
        return name in self._tools

    async def call(self, visit: PageVisit, name: str, arguments: Mapping[str, Any]) -> Answer:
        """What a tool answers. A refusal is an answer as well: whoever asks can mend what it names."""
        tool, properties = self._tools[name], self._schemas[name]["properties"]
        unknown = next((given for given in arguments if given not in properties), None)
        if unknown is not None:
            return Answer(f"{unknown[:100]}: {name} takes only {', '.join(properties) or 'nothing'}.", True)
        given = {name: value for name, value in arguments.items() if value is not None}
        missing = next((name for name in self._schemas[name]["required"] if name not in given), None)
        if missing is not None:
            return Answer(f"{missing}: is required.", True)
        if tool.waits:
            return await self._tail(visit, tool, given)
        return _said(await self._ask(visit, tool, given))

    async def read_run(self, visit: PageVisit, uri: str) -> Answer | None:
        """The run that a URI names; None for a URI that names none."""
        found = RUN_URI.fullmatch(uri)
        return None if found is None else await self.call(visit, "get_run", {"run_id": found[1]})

    async def list_runs(self, visit: PageVisit, cursor: str | None) -> InnerReply | None:
        """A page of runs, for resources; None where the caller may not read them."""
        assert visit.principal is not None
        if not self._may(visit.principal, "list_runs"):
            return None
        return await self._ask(visit, self._tools["list_runs"], {} if cursor is None else {"cursor": cursor})

    async def _ask(self, visit: PageVisit, tool: Tool, given: Mapping[str, Any]) -> InnerReply:
        in_path = {name: str(given[name]) for name in _PARAMETER.findall(tool.path)}
        rest = {name: value for name, value in given.items() if name not in in_path}
        path = path_of(tool.path, in_path)
        if tool.method == "GET":
            query = {name: _word(value) for name, value in rest.items()}
            return await ask(self._serve, visit, "GET", path, query)
        return await ask(self._serve, visit, tool.method, path, {}, rest)

    async def _tail(self, visit: PageVisit, tool: Tool, given: dict[str, Any]) -> Answer:
        seconds = given.pop("wait_seconds", 0)
        if type(seconds) is not int or not 0 <= seconds <= MAX_WAIT_SECONDS:
            return Answer(f"wait_seconds: must be a whole number from 0 to {MAX_WAIT_SECONDS}.", True)
        given.setdefault("limit", TAIL_EVENTS)
        if "after_seq" not in given:
            run = await self._ask(visit, self._tools["get_run"], {"run_id": given["run_id"]})
            if not run.is_good:
                return _said(run)
            newest = given["limit"] if type(given["limit"]) is int else TAIL_EVENTS
            given["after_seq"] = max(0, _read_seen(run.body).last_seq - newest)
        reply = await self._ask(visit, tool, given)
        if seconds and reply.is_good and not _read_listed(reply.body).data:
            path = path_of("/v1/runs/{run_id}/events", {"run_id": str(given["run_id"])})
            query = {"after_seq": _word(given["after_seq"])}
            await wait_for_news(self._serve, visit, path, query, seconds)
            reply = await self._ask(visit, tool, given)
        return _said(reply)


def _word(value: Any) -> str:
    """A parameter of a query as text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _said(reply: InnerReply) -> Answer:
    text = reply.body[:MAX_ANSWER_BYTES].decode("utf-8", "ignore")
    if len(reply.body) > MAX_ANSWER_BYTES:
        text += f"\n… cut here: {MAX_ANSWER_BYTES} of {len(reply.body)} bytes. Ask for less, with a smaller `limit`."
    return Answer(text, not reply.is_good)


def _endpoint_of(table: RouteTable, tool: Tool) -> Endpoint:
    found = next(
        route.endpoint
        for route in table
        if route.endpoint is not None and (route.endpoint.method, route.endpoint.path) == (tool.method, tool.path)
    )
    assert found is not None
    return found


def _schema_of(tool: Tool, endpoint: Endpoint) -> Schema:
    """What a tool takes, as its endpoint describes it."""
    kind = endpoint.query if endpoint.method == "GET" else endpoint.request
    known: Schema = {}
    if kind is not None:
        schemas = Schemas([kind])
        known = schemas.resolved(schemas.of(kind))["properties"]
    in_path = _PARAMETER.findall(tool.path)
    of_path = Schemas([v.IN_PATHS[name] for name in in_path])
    properties = {name: of_path.of(v.IN_PATHS[name]) for name in in_path}
    properties |= {name: known[name] for name in tool.parameters}
    if tool.waits:
        properties["wait_seconds"] = _WAIT
    required = [*in_path, *tool.required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
