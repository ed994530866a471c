"""`towerlog workers`, `queue` and `usage`: who works, what waits, and what it has cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import click

from towerlog.cli.connect import with_client
from towerlog.cli.formatting import limit_option, money, number, since_option, until_option
from towerlog.cli.groups import ListGroup
from towerlog.cli.output import answer, cut, say, tell
from towerlog.cli.tables import IDS_BETWEEN, SHORT_ID_CHARS, Column, View, show_table, with_view
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.fleet_shapes import LaneInfo, UsageTotal

WORKER_COLUMNS = (
    Column("WORKER ID"),
    Column("RUNS", "number"),
    Column("LAST HEARTBEAT", "time"),
    Column("RUN IDS", "ids", rank=1, least=SHORT_ID_CHARS),
)
QUEUE_COLUMNS = (
    Column("RUN ID", "id"),
    Column("STATE"),
    Column("AGENT"),
    Column("THREAD", rank=3),
    Column("ATTEMPT", "number", rank=2),
    Column("QUEUED", "time"),
    Column("WORKER", rank=1),
    Column("LABELS", rank=4),
)
BLOCKED = "blocked"
WHOLE_LIST = 1000
"""The most rows that the server gives of a list without pages."""
USAGE_FIGURES = (
    Column("RUNS", "number"),
    Column("ENDED", "number", rank=5),
    Column("EVENTS", "number", rank=6),
    Column("IN", "number"),
    Column("CACHED", "number", rank=4),
    Column("OUT", "number"),
    Column("REASONING", "number", rank=3),
    Column("TOTAL", "number", rank=2),
    Column("COST", "number"),
    Column("SOURCE", rank=7),
    Column("UNPRICED", "number", rank=1),
)


@click.group(cls=ListGroup)
def workers() -> None:
    """Workers: list them, with the runs that they hold."""


@workers.command("ls")
@with_client
@limit_option
@with_view
def list_workers(client: Client, limit: int, view: View, as_json: bool) -> None:
    """Lists the workers that hold runs or ask for some."""
    found = client.list_workers(min(limit, WHOLE_LIST))
    rows = [
        (one.worker_id, number(len(one.run_ids)), one.last_heartbeat_at, IDS_BETWEEN.join(one.run_ids)) for one in found
    ]
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(WORKER_COLUMNS, rows, empty="No worker holds a run.", view=view),
    )


MAX_NAME_CHARS = 40
"""Of an agent or a worker in a sentence below a table; the table of workers has them whole."""


@click.group(cls=ListGroup)
def queue() -> None:
    """The queue: runs that wait for a worker, and runs that a worker holds."""


@queue.command("ls")
@with_client
@click.option(
    "--state", type=click.Choice(["queued", "held"]), help="Only runs that wait, or only those that are held."
)
@limit_option
@with_view
def list_queue(client: Client, state: str | None, limit: int, view: View, as_json: bool) -> None:
    """Lists the queue, oldest first."""
    found = client.get_queue(state, min(limit, WHOLE_LIST))

    def words() -> None:
        rows = [_lane_row(lane) for lane in found.data]
        show_table(QUEUE_COLUMNS, rows, empty="The queue is empty.", view=view)
        if rows:
            say(f"{found.queued} queued, {found.held} held.")
        for line in _service(found.data):
            tell(line)
        if any(lane.lease.state == BLOCKED for lane in found.data):
            say("A blocked run waits until the earlier runs of its thread have ended.")

    answer(as_json, dict(found.raw), words)


def _named(name: str) -> str:
    return cut(name, MAX_NAME_CHARS)


def _service(lanes: Sequence[LaneInfo]) -> list[str]:
    """Of the agents of runs that wait: which of them no worker serves, and whose workers are busy."""
    nobody = sorted({_named(lane.agent) for lane in lanes if lane.unserved})
    busy = sorted({(_named(lane.agent), _named(lane.busy_worker)) for lane in lanes if lane.busy_worker is not None})
    lines = [f"No worker serves {', '.join(nobody)}."] if nobody else []
    return [*lines, *(f"The worker that serves {agent} is busy ({worker})." for agent, worker in busy)]


def _lane_row(lane: LaneInfo) -> tuple[str | None, ...]:
    labels = ", ".join(f"{name}={value}" for name, value in (lane.labels or {}).items())
    attempt = number(lane.attempt)
    worker = lane.lease.worker_id
    return (lane.run_id, lane.lease.state, lane.agent, lane.thread_id, attempt, lane.queued_at, worker, labels)


@click.command()
@with_client
@click.option(
    "--by", type=click.Choice(["agent", "model", "hour"]), default="agent", show_default=True, help="What a row is."
)
@since_option
@until_option
@click.option("--agent", help="Only this agent.")
@click.option("--model", help="Only this model.")
@limit_option
@with_view
def usage(client: Client, by: str, limit: int, view: View, as_json: bool, **filters: str | None) -> None:
    """Shows runs, tokens and cost by agent, model or hour.

    Without --since: of the last 7 days. IN is all input and OUT all output; CACHED is part of IN, REASONING of OUT.
    SOURCE is where the cost comes from; UNPRICED is how many calls it leaves out, since nobody knows what they cost.
    """
    found = list(islice(client.list_usage(by, **filters), limit))
    columns = (Column(by.upper(), "hour" if by == "hour" else "text"), *USAGE_FIGURES)
    rows = [(getattr(one, by) or "(none)", *_figures(one)) for one in found]
    empty = "No usage in this time." if filters["since"] else "No usage in the last 7 days; --since looks further back."
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(columns, rows, empty=empty, view=view),
    )


def _figures(total: UsageTotal) -> tuple[str, ...]:
    usage = total.usage
    tokens = (
        (
            usage.total_input_tokens,
            usage.cached_input_tokens,
            usage.total_output_tokens,
            usage.reasoning_tokens,
            usage.total_tokens,
        )
        if usage
        else (None,) * 5
    )
    counts = (total.runs_started, total.runs_ended, total.events)
    unpriced = number(total.unpriced_calls) if total.unpriced_calls else ""
    return (*map(number, (*counts, *tokens)), money(total.cost_usd), total.cost_source or "", unpriced)
