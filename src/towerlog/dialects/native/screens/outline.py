"""The native endpoint of a run's outline: what a timeline draws of it, however many events it has."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import invalid_field, path_uuid, query_int, time_ms_of
from towerlog.model import outline as model
from towerlog.model.outline import MAX_OUTLINE_WIDTH
from towerlog.model.principal import Scope
from towerlog.model.question import GetOutline
from towerlog.model.times import LATEST_MS, format_ms, format_optional_ms

READ = scopes(Scope.READ)
DEFAULT_WIDTH = 1000
KINDS = ["tool", "model", "step", "text", "wait", "pause", "queue", "lease", "child", "event"]


class OutlineQuery(msgspec.Struct, frozen=True):
    """How wide the drawing is, and which part of the run it shows."""

    width: Annotated[
        int,
        v.said("How many pixels there are: what is narrower is joined.", 1000, minimum=1, maximum=MAX_OUTLINE_WIDTH),
    ] = DEFAULT_WIDTH
    since: Annotated[str, v.time("Where the drawing begins; without it, with the run.")] | None = None
    until: Annotated[str, v.time("Where it ends; without it, with the run, or now.")] | None = None


class OutlineSpan(msgspec.Struct, frozen=True):
    """A stretch of the run's time, or several that are too short to be told apart."""

    kind: Annotated[str, v.said("What it is.", "tool", enum=KINDS)]
    name: (
        Annotated[
            str, v.said("Of the tool, model, step, worker or event; null for none, and for several of them.", "search")
        ]
        | None
    )
    begin: Annotated[str, v.time("When it began.")]
    end: Annotated[str, v.time("When it ended; null where it goes on.")] | None
    first_seq: Annotated[int, v.said("The event that it begins with; 0 of a child.", 3)]
    last_seq: Annotated[int, v.said("The event that it ends with; 0 of a child.", 4)]
    count: Annotated[int, v.said("How many it stands for.", 1)]
    failed: Annotated[int, v.said("How many of them failed.", 0)]
    agent: Annotated[int, v.said("Which agent, counted within this reply; 0 for none.", 1)]
    run_id: Annotated[str, v.run_id("The child, where it is one.")] | None


class ToolTotal(msgspec.Struct, frozen=True):
    """The calls of one tool in the whole run."""

    tool: Annotated[str, v.said("The tool.", "search")]
    calls: Annotated[int, v.said("How often it was called.", 7)]
    failed: Annotated[int, v.said("How many calls failed.", 1)]
    open: Annotated[int, v.said("How many have no result.", 0)]
    p50_ms: Annotated[int, v.said("Half of those with a result took no longer, in milliseconds.", 740)] | None
    p95_ms: Annotated[int, v.said("95 of 100 took no longer, in milliseconds.", 2100)] | None
    max_ms: Annotated[int, v.said("The longest, in milliseconds.", 2400)] | None


class RunOutline(msgspec.Struct, frozen=True):
    """What a run spent its time on: at most 2,000 spans, whatever it has done."""

    schema_name: ClassVar[str] = "RunOutline"
    run_id: v.RunId
    begin: Annotated[str, v.time("Where the drawing begins.")]
    end: Annotated[str, v.time("Where it ends.")]
    spans: Annotated[list[OutlineSpan], v.said("What is seen there, by its beginning.")]
    tools: Annotated[list[ToolTotal], v.said("The tools of the whole run, the one that was called most first.")]
    events: Annotated[int, v.said("How many events were looked at.", 9)]
    whole: Annotated[bool, v.said("Whether these are all that the run has.", True)]
    agents: Annotated[
        list[str | None],
        v.said("The names of the agents, the first that of agent 1; null for one that is not named.", ["researcher"]),
    ]


def _decode_outline(call: Call) -> GetOutline:
    since, until = time_ms_of(call.query.get("since"), "since"), time_ms_of(call.query.get("until"), "until")
    if since is not None and until is not None and until <= since:
        raise invalid_field("until", "must be after since")
    width = query_int(call.query, "width", DEFAULT_WIDTH, 1, MAX_OUTLINE_WIDTH)
    return GetOutline(path_uuid(call.path["run_id"], "run"), width, since, until)


def _encode_outline(outcome: model.Outline, command: GetOutline, call: Call) -> Reply:
    # Numbers of the store are nobody else's business.
    agents: dict[int, int] = {0: 0}
    for span in outcome.spans:
        agents.setdefault(span.agent, len(agents))
    return reply_json(
        RunOutline(
            run_id=command.run_id,
            begin=_time(outcome.begin),
            end=_time(outcome.end),
            spans=[
                OutlineSpan(
                    kind=span.kind,
                    name=span.name,
                    begin=_time(span.begin),
                    end=format_optional_ms(span.end),
                    first_seq=span.first_seq,
                    last_seq=span.last_seq,
                    count=span.count,
                    failed=span.failed,
                    agent=agents[span.agent],
                    run_id=span.run_id,
                )
                for span in outcome.spans
            ],
            tools=[ToolTotal(**msgspec.structs.asdict(tool)) for tool in outcome.tools],
            events=outcome.events,
            whole=outcome.whole,
            agents=[outcome.agents.get(number) for number in agents if number],
        )
    )


def _time(at: int) -> str:
    return format_ms(max(0, min(at, LATEST_MS)))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/runs/{run_id}/outline", "get_outline", "What a run spent its time on, as spans to be drawn.",
        READ, _decode_outline, _encode_outline, query=OutlineQuery, reply=RunOutline,
    ),
)  # fmt: skip
"""The endpoint of outlines."""
