"""`towerlog runs`: list, show, follow, answer, pause, cancel and retry runs."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

import click

from towerlog.cli.connect import with_client
from towerlog.cli.formatting import duration, money, number, since_option, until_option
from towerlog.cli.output import answer, say, show_fields, show_table
from towerlog.cli.tail import show_tail
from towerlog.cli.untrusted import json_line
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import DeliveryInfo, Liveness, RunInfo

COLUMNS = ("RUN ID", "STATUS", "AGENT", "THREAD", "CREATED", "TOOK", "IN", "OUT", "COST")
CANCEL_STAGES = ("requested", "delivered", "acknowledged", "stopped", "forced")


@click.group()
def runs() -> None:
    """Runs: list, show, watch, answer, cancel, and run again."""


@runs.command("ls")
@with_client
@click.option("--status", help="One or several, comma-separated: queued, running, completed, failed …")
@click.option("--agent", help="Of this agent.")
@click.option("--thread", "thread_id", help="In this thread.")
@click.option("--model", help="With this model.")
@click.option("--query", "q", help="Part of an id or of an agent's name.")
@since_option
@until_option
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Maximum number of rows.")
def list_runs(client: Client, as_json: bool, limit: int, **filters: str | None) -> None:
    """Lists runs, newest first."""
    found = list(islice(client.list_runs(min(limit, 200), **filters), limit))
    answer(
        as_json,
        {"data": [run.raw for run in found]},
        lambda: show_table(COLUMNS, [_row(run) for run in found], empty="No runs."),
    )


def _row(run: RunInfo) -> tuple[str, ...]:
    tokens = (number(run.total_input_tokens), number(run.total_output_tokens))
    took = duration(run.duration_ms)
    who = (run.agent or "", run.thread_id, run.created_at)
    return (run.run_id, _status(run), *who, took, *tokens, money(run.total_cost_usd))


def _status(run: RunInfo) -> str:
    """With the liveness verdict where it adds something."""
    verdict = run.liveness.verdict if run.liveness else None
    return run.status if verdict in (None, "alive", run.status) else f"{run.status} ({verdict})"


@runs.command("show")
@with_client
@click.argument("run_id")
def show_run(client: Client, run_id: str, as_json: bool) -> None:
    """Shows everything about a run, and the runs below it."""
    run = client.get_run(run_id)
    answer(as_json, dict(run.raw), lambda: _show(run))


def _show(run: RunInfo) -> None:
    show_fields(
        [
            ("run", run.run_id),
            ("status", _status(run) + (", forced" if run.forced else "")),
            ("agent", run.agent),
            ("thread", run.thread_id),
            ("trace", run.trace_id),
            ("persona", run.persona_id),
            ("route", run.route_id),
            ("model", run.model),
            ("created", run.created_at),
            ("started", run.started_at),
            ("ended", run.ended_at),
            ("took", duration(run.duration_ms)),
            ("attempt", run.attempt if run.attempt > 1 else None),
            ("worker", run.lane.worker_id if run.lane else None),
            ("phase", run.phase),
            ("events", f"{run.last_seq}" + (f", {run.late_events} late" if run.late_events else "")),
            ("delivery", _delivery(run.delivery)),
            ("tokens in", number(run.total_input_tokens)),
            ("tokens out", number(run.total_output_tokens)),
            ("cost", money(run.total_cost_usd)),
            *((f"question {one.question_id}", one.question or "") for one in run.questions),
            ("error", run.error),
            ("cancel", _cancel(run)),
            ("last heard", _heard(run.liveness)),
            ("resumed from", run.resumed_from),
            ("retry of", run.retry_of),
            ("input", _json(run.input)),
            ("result", _json(run.result)),
        ]
    )
    if run.children:
        say("runs below")
        for child in run.children:
            _show_branch(child, 1)


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


def _heard(liveness: Liveness | None) -> str | None:
    """The three liveness times of a run that has not ended."""
    if liveness is None or liveness.verdict is None:
        return None
    clocks = {name: getattr(liveness, f"{name}_at") for name in ("process", "progress", "output")}
    return ", ".join(f"{name} {at}" for name, at in clocks.items() if at) or None


def _cancel(run: RunInfo) -> str | None:
    """The stages that it has come through."""
    if run.cancel is None:
        return None
    known = run.cancel.raw
    return ", ".join(f"{stage} {known[f'{stage}_at']}" for stage in CANCEL_STAGES if known.get(f"{stage}_at"))


@runs.command("tail")
@with_client
@click.argument("run_id")
@click.option("--after-seq", default=0, type=click.IntRange(0), help="Start after this event.")
def tail_run(client: Client, run_id: str, after_seq: int, as_json: bool) -> None:
    """Follows a run until it ends: the agent's text as it is written, every other event on a line.

    Reconnects when the server restarts, with nothing missed and nothing repeated. With --json each event is a line of
    JSON.
    """
    show_tail(client.follow(run_id, after_seq), as_json)


@runs.command("cancel")
@with_client
@click.argument("run_id")
@click.option("--reason", help="The reason; passed on to the agent.")
def cancel_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Requests cancellation of a run and of the runs below it."""
    client.cancel_run(run_id, reason)
    words = f"Cancel requested. Follow it with `towerlog runs show {run_id}`."
    answer(as_json, {"ok": True, "run_id": run_id}, lambda: say(words))


@runs.command("pause")
@with_client
@click.argument("run_id")
@click.option("--reason", help="The reason; recorded in the log.")
def pause_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Requests a pause: the run is paused once its agent confirms it."""
    _steered(client.pause_run(run_id, reason), as_json, "Pause requested for {}; status: {}.")


@runs.command("resume")
@with_client
@click.argument("run_id")
@click.option("--reason", help="The reason; recorded in the log.")
def resume_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Requests that a paused run continues."""
    _steered(client.resume_run(run_id, reason), as_json, "Resume requested for {}; status: {}.")


@runs.command("kill")
@with_client
@click.argument("run_id")
@click.option("--reason", help="The reason; recorded in the log.")
def kill_run(client: Client, run_id: str, reason: str | None, as_json: bool) -> None:
    """Ends a run and the runs below it immediately, without waiting for their agents."""
    _steered(client.kill_run(run_id, reason), as_json, "Killed {}; status: {}.")


def _steered(run: RunInfo, as_json: bool, words: str) -> None:
    answer(as_json, dict(run.raw), lambda: say(words.format(run.run_id, run.status)))


@runs.command("input")
@with_client
@click.argument("run_id")
@click.argument("text")
@click.option(
    "--question", "question_id", type=int, metavar="ID", help="The question that is answered; else the oldest."
)
def give_input(client: Client, run_id: str, text: str, question_id: int | None, as_json: bool) -> None:
    """Answers a question of a run, or sends a message to one that asks nothing. TEXT - reads standard input."""
    content = sys.stdin.read() if text == "-" else text
    client.give_input(run_id, content, question_id=question_id)
    answer(as_json, {"ok": True, "run_id": run_id}, lambda: say(f"Answer sent to run {run_id}."))


@runs.command("retry")
@with_client
@click.argument("run_id")
def retry_run(client: Client, run_id: str, as_json: bool) -> None:
    """Queues a new run with the thread, agent and input of one that has ended."""
    run = client.retry_run(run_id)
    answer(as_json, dict(run.raw), lambda: say(f"Queued run {run.run_id}."))
