"""`towerlog agents` and `threads`: agents, their events, and threads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import click

from towerlog.cli.connect import with_client
from towerlog.cli.escapes import json_line, visible
from towerlog.cli.formatting import cost_cell, duration, limit_option, number
from towerlog.cli.groups import Group, ListGroup
from towerlog.cli.output import answer, cut, note, screen_width
from towerlog.cli.run_ids import ID_CHARS, only_one
from towerlog.cli.tables import Column, View, moment, show_table, with_view
from towerlog.cli.tail import INTERRUPTED, words_of_gap
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.fleet_shapes import AgentEvent, AgentInfo
from towerlog.sdk.api.shapes import Gap

AGENT_COLUMNS = (
    Column("AGENT ID", "id", rank=4),
    Column("NAME"),
    Column("RUNS", "number"),
    Column("EVENTS", "number", rank=5),
    Column("ERRORS", "number", rank=3),
    Column("TOKENS", "number", rank=2),
    Column("COST", "number", rank=1),
    Column("LAST EVENT", "time"),
    Column("LAST HEARTBEAT", "time", rank=6),
)
THREAD_COLUMNS = (
    Column("THREAD ID"),
    Column("TITLE", rank=1),
    Column("RUNS", "number"),
    Column("POLICY", rank=3),
    Column("CREATED", "time", rank=2),
    Column("UPDATED", "time"),
)


@click.group(cls=Group)
def agents() -> None:
    """Agents: list them, and their events."""


@agents.command("ls")
@with_client
@limit_option
@with_view
def list_agents(client: Client, limit: int, view: View, as_json: bool) -> None:
    """Lists agents by name."""
    found = list(islice(client.list_agents(), limit))
    answer(
        as_json,
        {"data": [agent.raw for agent in found]},
        lambda: show_table(AGENT_COLUMNS, [_agent_row(agent) for agent in found], empty="No agents.", view=view),
    )


def _agent_row(agent: AgentInfo) -> tuple[str, ...]:
    counts = (agent.run_count, agent.event_count, agent.error_count, agent.usage.total_tokens if agent.usage else None)
    seen = (agent.last_event_at or "", agent.last_heartbeat_at or "")
    return (agent.agent_id, agent.name, *map(number, counts), cost_cell(agent.cost_usd, agent.unpriced_calls), *seen)


@agents.command("events")
@with_client
@click.argument("agent")
@click.option("-f", "--follow", is_flag=True, help="Keep following new events, until Ctrl-C.")
@click.option("--tail", default=100, show_default=True, type=click.IntRange(0, 5000), help="Number of newest events.")
@click.option("--utc", is_flag=True, help="Show times in UTC, as they are in a pipe.")
def agent_events(client: Client, agent: str, follow: bool, tail: int, utc: bool, as_json: bool) -> None:
    """Shows the events of an agent, given by name or id: one line each, without content.

    With --json and --follow each event is a line of JSON.
    """
    agent_id = _agent_id(client, agent)
    if follow:
        _show_feed(client.follow_agent(agent_id, tail), as_json, utc)
        return
    found = client.agent_events(agent_id, tail)

    def words() -> None:
        for event in found:
            click.echo(_event_line(event, utc))

    answer(as_json, {"data": [event.raw for event in found]}, words)


def _agent_id(client: Client, agent: str) -> str:
    """The id of an agent by its name, its id, or the beginning of its id. Raises NotFound."""
    for found in client.list_agents(agent):
        return found.agent_id
    if len(agent) == ID_CHARS:
        return agent
    ids = tuple(one.agent_id for one in client.list_agents() if one.agent_id.startswith(agent.lower()))
    if not ids:
        raise NotFound("agent", f"There is no agent named {agent!r}, and none whose id begins with it.")
    return only_one(agent, ids, "agent")


def _show_feed(events: Iterable[AgentEvent | Gap], as_json: bool, utc: bool) -> None:
    try:
        for event in events:
            if as_json:
                click.echo(json_line({"gap": event.raw} if isinstance(event, Gap) else event.raw, compact=True))
            elif isinstance(event, Gap):
                note(words_of_gap(event))
            else:
                click.echo(_event_line(event, utc))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _event_line(event: AgentEvent, utc: bool) -> str:
    well = {True: "ok", False: "failed", None: ""}[event.success]
    # Of a tool call the input is the tool's name, which may be that of its kind.
    what = event.input_summary if event.input_summary != event.tool else None
    at = moment(event.timestamp or "", utc)
    words = (at, event.type, event.tool, what, well, duration(event.duration_ms))
    line = visible("  ".join(word for word in words if word))
    width = screen_width()
    return line if width is None else cut(line, width)


@click.group(cls=ListGroup)
def threads() -> None:
    """Threads: list them."""


@threads.command("ls")
@with_client
@click.option("--query", "q", help="Words of its id or its title.")
@limit_option
@with_view
def list_threads(client: Client, q: str | None, limit: int, view: View, as_json: bool) -> None:
    """Lists threads, newest first."""
    found = list(islice(client.list_threads(q), limit))
    rows = [
        (one.thread_id, one.title or "", number(one.run_count), one.policy, one.created_at, one.updated_at)
        for one in found
    ]
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(THREAD_COLUMNS, rows, empty="No threads.", view=view),
    )
