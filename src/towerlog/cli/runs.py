"""`towerlog runs`: list, show and follow runs. The commands that change one are in `run_steering`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import click

from towerlog.cli.connect import with_client
from towerlog.cli.escapes import json_line
from towerlog.cli.formatting import (
    calls_in,
    cost_cell,
    cost_words,
    counted,
    duration,
    limit_option,
    number,
    since_option,
    until_option,
)
from towerlog.cli.groups import Group
from towerlog.cli.output import answer, note, say, show_fields
from towerlog.cli.run_ids import with_run
from towerlog.cli.run_steering import COMMANDS
from towerlog.cli.tables import Column, View, moment, show_table, with_view
from towerlog.cli.tail import show_tail
from towerlog.cli.tree import Tree
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import ClosedQuestion, DeliveryInfo, Lease, Liveness, RunInfo, TreeTotals

COLUMNS = (
    Column("RUN ID", "id"),
    Column("STATUS", least=17),
    Column("AGENT"),
    Column("THREAD", rank=4),
    Column("CREATED", "time", rank=1),
    Column("TOOK", "number", rank=2),
    Column("IN", "number", rank=5),
    Column("OUT", "number", rank=6),
    Column("COST", "number", rank=3),
)
CHECKPOINT_COLUMNS = (
    Column("STEP", "number"),
    Column("AGENT"),
    Column("STATUS"),
    Column("MESSAGES", "number"),
    Column("CREATED", "time", rank=1),
    Column("UPDATED", "time", rank=2),
)
Shown = Callable[[str | None], str | None]
"""A time as it is shown."""
LAST_SEEN = {"sign of life": "process", "progress": "progress", "output": "output"}
CANCEL_STAGES = {
    "requested": "cancel requested",
    "delivered": "cancel delivered",
    "acknowledged": "cancel acknowledged",
    "stopped": "agent stopped",
    "forced": "cancel forced",
}


STATUSES = (
    "queued",
    "running",
    "waiting_for_input",
    "paused",
    "cancelling",
    "completed",
    "failed",
    "cancelled",
    "budget_exceeded",
    "lost",
)
FOREIGN_STATUSES = ("success", "error")
"""What other systems call `completed` and `failed`; the server takes these words too."""


def _statuses(_context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    for word in (given or "").split(","):
        if given is not None and word.strip() not in (*STATUSES, *FOREIGN_STATUSES):
            raise click.BadParameter(f"{word.strip()!r} is not one of {', '.join(STATUSES)}", param=option)
    return given


def _pairs(_context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """In the API's form: `name:value`, separated by commas."""
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name or {",", ":"} & set(name) or "," in value:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE; neither has a comma", param=option)
    return ",".join(pair.replace("=", ":", 1) for pair in given) or None


@click.group(cls=Group)
def runs() -> None:
    """Runs: list, show, watch, create, answer, cancel, and run again.

    A RUN_ID may be shortened: `towerlog runs ls` shows how far.
    """


def _columns(filters: Mapping[str, Any]) -> list[Column]:
    """What the filter says of all rows is the first to go where there is little room."""
    said = {"AGENT": filters["agent"], "THREAD": filters["thread_id"]}
    return [replace(column, rank=9) if said.get(column.title) else column for column in COLUMNS]


@runs.command("ls")
@with_client
@click.option("--status", callback=_statuses, help="One or several, comma-separated: queued, running, completed …")
@click.option("--agent", help="Of this agent.")
@click.option("--thread", "thread_id", help="In this thread.")
@click.option("--model", help="With this model.")
@click.option("--query", "q", help="Words of its input, result, error or talk, or parts of its ids.")
@click.option("--label", callback=_pairs, multiple=True, metavar="NAME=VALUE", help="With this label; repeatable.")
@click.option("--metadata", callback=_pairs, multiple=True, metavar="NAME=VALUE", help="The same of metadata.")
@click.option("--silent", is_flag=True, help="Only those of which nothing has been heard for long.")
@click.option("--errors", "has_errors", is_flag=True, help="Only those with an error.")
@since_option
@until_option
@limit_option
@with_view
def list_runs(client: Client, as_json: bool, limit: int, view: View, **filters: Any) -> None:
    """Lists runs, newest first. A + behind a cost: it leaves out calls without a price."""
    filters |= {name: "true" if filters[name] else None for name in ("silent", "has_errors")}
    found = list(islice(client.list_runs(min(limit, 200), **filters), limit))
    answer(
        as_json,
        {"data": [run.raw for run in found]},
        lambda: show_table(_columns(filters), [_row(run) for run in found], empty="No runs.", view=view),
    )


def _row(run: RunInfo) -> tuple[str, ...]:
    tokens = (number(run.total_input_tokens), number(run.total_output_tokens))
    took = duration(run.duration_ms)
    who = (run.agent or "", run.thread_id, run.created_at)
    return (run.run_id, _status(run), *who, took, *tokens, cost_cell(run.total_cost_usd, run.unpriced_calls))


def _status(run: RunInfo) -> str:
    """With the liveness verdict where it adds something."""
    verdict = run.liveness.verdict if run.liveness else None
    return run.status if verdict in (None, "alive", run.status) else f"{run.status} ({verdict})"


@runs.command("show")
@with_run
@click.option("--utc", is_flag=True, help="Show times in UTC, as they are in a pipe.")
def show_run(client: Client, run_id: str, utc: bool, as_json: bool) -> None:
    """Shows everything about a run, and the runs below it."""
    run = client.get_run(run_id)
    answer(as_json, dict(run.raw), lambda: _show(run, utc, _calls_that_wait(client, run)))


def _calls_that_wait(client: Client, run: RunInfo) -> list[tuple[str, object]]:
    """Tool calls of it about which a person has to decide, and how."""
    waiting = client.list_approvals("approval", run.run_id) if run.status == "waiting_for_input" else ()
    return [
        (
            "waits for",
            f"{'; '.join(calls_in(one.tool_calls)) or 'tool calls'} (towerlog approvals show {one.approval_id})",
        )
        for one in waiting
    ]


def _waits(run: RunInfo) -> str | None:
    """What a run waits for that no worker has taken."""
    if run.lane is not None and run.lane.state == "blocked":
        return "the earlier runs of its thread"
    if run.busy_worker is not None:
        return f"a worker: the one that serves it is busy ({run.busy_worker})"
    return f"a worker: none serves {run.agent or 'this run'} (towerlog workers)" if run.unserved else None


def _show(run: RunInfo, utc: bool, calls: list[tuple[str, object]]) -> None:
    def at(text: str | None) -> str | None:
        return moment(text, utc) if text else None

    show_fields(
        [
            ("run", run.run_id),
            ("status", _status(run) + (", forced" if run.forced else "")),
            ("agent", run.agent),
            ("thread", run.thread_id),
            ("run above", run.parent_run_id),
            ("trace", run.trace_id),
            ("persona", run.persona_id),
            ("route", run.route_id),
            ("model", run.model),
            ("created", at(run.created_at)),
            ("started", at(run.started_at)),
            ("ended", at(run.ended_at)),
            ("took", duration(run.duration_ms)),
            ("attempt", run.attempt if run.attempt > 1 else None),
            ("worker", _worker(run.lane, at)),
            ("waits for", _waits(run)),
            ("phase", run.phase),
            ("events", f"{run.last_seq}" + (f", {run.late_events} late" if run.late_events else "")),
            ("delivery", _delivery(run.delivery)),
            ("tokens in", number(run.total_input_tokens)),
            ("tokens out", number(run.total_output_tokens)),
            ("cost", cost_words(run.total_cost_usd, run.cost_source, run.price_version, run.unpriced_calls)),
            ("in all", _tree(run.tree)),
            *((f"question {one.question_id}", _closed(one, at)) for one in run.closed_questions),
            *((f"question {one.question_id}", one.question or "") for one in run.questions),
            *calls,
            ("error", run.error if run.cancel is None or run.error != run.cancel.reason else None),
            *_cancel(run, at),
            *_heard(run.liveness, at),
            ("resumed from", None if run.resumed_from == run.retry_of else run.resumed_from),
            ("resumed by", run.resumed_by),
            ("retry of", run.retry_of),
            *_told(run.metadata),
            ("input", _json(run.input)),
            ("result", _json(run.result)),
        ]
    )
    if run.children:
        say("runs below")
        for child in run.children:
            _show_branch(child, 1)


def _told(metadata: Mapping[str, Any] | None) -> list[tuple[str, str | None]]:
    """Labels that the run's sender gave it, as `runs ls --label` takes them, and the rest of its metadata."""
    rest = dict(metadata or {})
    labels = rest.get("labels")
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        return [("metadata", _json(rest) if rest else None)]
    del rest["labels"]
    said = " ".join(f"{name}={value}" for name, value in labels.items())
    return [("labels", said or None), ("metadata", _json(rest) if rest else None)]


def _closed(one: ClosedQuestion, at: Callable[[str | None], str | None]) -> str:
    """What became of a question, and by whom."""
    when = at(one.closed_at)
    by = f" by {one.answered_by}" if one.answered_by else ""
    if one.state == "answered":
        return f"answered{by} at {when}" + ("" if one.taken_at else "; its agent has not taken the answer yet")
    if one.state == "withdrawn":
        return f"withdrawn at {when}" + (f"; the answer{by} reached nobody" if by else "")
    return f"expired at {when}: nobody had answered"


def _worker(lease: Lease | None, at: Callable[[str | None], str | None]) -> str | None:
    """Who holds it, and until when, unless its worker is heard from before."""
    if lease is None or lease.worker_id is None:
        return None
    until = at(lease.lease_expires_at)
    return f"{lease.worker_id}, its lease ends {until}" if until else lease.worker_id


def _tree(tree: TreeTotals | None) -> str | None:
    """What the run and all runs below it have spent, where there are any."""
    below = _below(tree)
    if tree is None or below is None:
        return None
    tokens = ((tree.total_input_tokens, "in"), (tree.total_output_tokens, "out"))
    words = [f"this run and {below}"]
    words += [f"{number(count)} {way}" for count, way in tokens if count is not None]
    return ", ".join([*words, cost_cell(tree.total_cost_usd, tree.unpriced_calls)]).removesuffix(", ")


def _below(tree: TreeTotals | None) -> str | None:
    """How many runs there are below the run of these totals, which count it as well."""
    if tree is None or tree.runs < 2:
        return None
    below = f"{counted(tree.runs - 1, 'run')} below it"
    return below if tree.complete else f"more than {below}"


def _show_branch(run: RunInfo, depth: int) -> None:
    say(f"{'  ' * depth}{run.run_id}  {_status(run)}  {run.agent or ''}")
    for child in run.children:
        _show_branch(child, depth + 1)


def _json(value: Any) -> str | None:
    return None if value is None else json_line(value)


def _delivery(delivery: DeliveryInfo | None) -> str | None:
    """Whether the log is complete, or what is missing."""
    if delivery is None or delivery.complete is None:
        return None
    if delivery.complete:
        return "complete"
    missing = [f"{first}–{last}" for client in delivery.clients for first, last in client.missing]
    dropped = sum(client.dropped for client in delivery.clients)
    said = [f"missing {', '.join(missing)}"] if missing else []
    said += [f"{dropped} dropped by the sender"] if dropped else []
    return "; ".join(said) or "incomplete"


def _heard(liveness: Liveness | None, at: Shown) -> list[tuple[str, str | None]]:
    """The three liveness times of a run that has not ended."""
    if liveness is None or liveness.verdict is None:
        return []
    return [(f"last {name}", at(getattr(liveness, f"{clock}_at"))) for name, clock in LAST_SEEN.items()]


def _cancel(run: RunInfo, at: Shown) -> list[tuple[str, str | None]]:
    """The stages that a cancel has come through, and why it was requested."""
    if run.cancel is None:
        return []
    stages = [(title, at(run.cancel.raw.get(f"{stage}_at"))) for stage, title in CANCEL_STAGES.items()]
    return [*stages, ("cancel reason", run.cancel.reason)]


@runs.command("tail")
@with_run
@click.option("--after-seq", default=0, type=click.IntRange(0), help="Start after this event.")
@click.option("--tail", type=click.IntRange(0), help="Start with so many of the newest events of the run.")
@click.option("--no-children", is_flag=True, help="Do not follow the runs below it.")
@click.option("--until-question", is_flag=True, help="End when the run, or one below it, asks a person something.")
@click.option("--utc", is_flag=True, help="Show times in UTC; default: in this machine's zone.")
def tail_run(
    client: Client,
    run_id: str,
    after_seq: int,
    tail: int | None,
    no_children: bool,
    until_question: bool,
    utc: bool,
    as_json: bool,
) -> None:
    """Follows a run and the runs below it until they end: the agents' text as it is written, other events on a line.

    Reconnects when the server restarts, with nothing missed and nothing repeated. What happens inside a step is
    indented below it; what happens in a run below stands further to the right, behind the name of its agent. At most 16
    runs are followed at a time. With --json each event is a line of JSON, with the id of its run.
    """
    if tail is not None:
        after_seq = max(after_seq, client.get_run(run_id, with_children=False).last_seq - tail)
    tree = Tree(client, run_id, after_seq, with_children=not no_children)
    show_tail(tree.events(), as_json, utc=utc, until_question=until_question)
    if tree.left_out:
        them = "it" if tree.left_out == 1 else "them"
        note(f"{counted(tree.left_out, 'run')} below it not shown: `towerlog runs show {run_id}` lists {them}")


@runs.command("checkpoints")
@with_run
@with_view
def list_checkpoints(client: Client, run_id: str, view: View, as_json: bool) -> None:
    """Lists a run's checkpoints by step. `towerlog runs fork` starts a new run from one."""
    found = list(client.list_checkpoints(run_id))
    rows = [
        (number(one.step_index), one.agent, one.status, number(one.message_count), one.created_at, one.updated_at)
        for one in found
    ]
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(CHECKPOINT_COLUMNS, rows, empty="No checkpoints.", view=view),
    )


for steering in COMMANDS:
    runs.add_command(steering)
