"""`towerlog import`: sessions of coding agents, exports of tracing tools, and spans, as runs with their own times."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from towerlog.cli.connect import COMMANDS as OF_COMMANDS
from towerlog.cli.connect import client_of, local_key_explained, path_explained
from towerlog.cli.escapes import json_line
from towerlog.cli.exits import FOUND_WRONG
from towerlog.cli.importers.delivery import ImportOutcome, Sender
from towerlog.cli.importers.files import NAMES, events_in, format_of, requests_in
from towerlog.cli.importers.otlp import NAME as OTLP
from towerlog.cli.options import as_json, with_settings
from towerlog.cli.output import note, progress, say
from towerlog.config import Settings
from towerlog.sdk.api.client import Client


@click.command("import")
@with_settings()
@click.option("--url", help="The server's address; default: TOWERLOG_URL, else that of the local server.")
@click.option("--format", "form", type=click.Choice(list(NAMES)), help="What the files are; default: as they look.")
@click.option("--dry-run", is_flag=True, help="Only say what is in the files; no server is asked.")
@as_json
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE…"
)
def import_files(
    settings: Settings, url: str | None, form: str | None, dry_run: bool, as_json: bool, files: tuple[Path, ...]
) -> None:
    """Imports sessions of Claude Code and Codex, exports of Langfuse and LangSmith, and spans of OTLP, as runs.

    A session or a trace becomes a run, with its own times; a sub-agent of a session becomes a child. Tokens and money
    are as the file tells them, or unknown. To import a file again changes nothing but what is new in it. A session that
    is still going on is imported as far as it goes. Each file gets a line that says what became of it; with --json an
    object.
    """
    if dry_run:
        refused = sum(_imported(None, path, form, as_json) for path in files)
    else:
        with client_of(settings, url) as client, local_key_explained(settings, OF_COMMANDS), path_explained(url):
            refused = sum(_imported(client, path, form, as_json) for path in files)
    if refused:
        raise SystemExit(FOUND_WRONG)


def _imported(client: Client | None, path: Path, form: str | None, as_json: bool) -> int:
    """Imports a file and says so; how many of its events were refused."""
    name = form or format_of(path)
    if name == OTLP:
        return _exported(client, path, as_json)
    skipped: Counter[str] = Counter()
    outcome = ImportOutcome()
    events = events_in(path, name, lambda kind: skipped.update([kind]))
    with progress(f"events of {path.name}") as done:
        if client is None:
            for event in events:
                outcome.note(event)
                done(outcome.events)
        else:
            Sender(client, name, outcome).send(events, done)
    if as_json:
        click.echo(json_line(_fields(path, name, outcome, skipped, is_sent=client is not None)))
    else:
        say(_words(path, name, outcome, is_sent=client is not None))
    for refusal in outcome.refusals:
        note(refusal)
    return outcome.results["refused"]


def _exported(client: Client | None, path: Path, as_json: bool) -> int:
    """Sends a file of OTLP and says so; how many of its spans and records were refused."""
    # Not before it is asked for: it reads what the server reads.
    from towerlog.cli.importers.exports import ExportOutcome, send_exports

    outcome = ExportOutcome()
    with progress(f"spans of {path.name}") as done:
        send_exports(client, requests_in(path), outcome, done)
    taken = None if client is None else outcome.items - outcome.refused
    if as_json:
        sent = {} if taken is None else {"taken": taken}
        told = {"ok": not outcome.refused, "file": str(path), "format": OTLP, "spans": outcome.items}
        click.echo(json_line({**told, **_figures(outcome.found), "refused": outcome.refused, **sent}))
    else:
        spans = f", {_some(outcome.items, 'span')}: {taken} taken, {outcome.refused} refused."
        is_sent = client is not None
        say(_found(path, OTLP, outcome.found) + (spans if is_sent else _used(outcome.found)))
    for refusal in outcome.refusals:
        note(refusal)
    return outcome.refused


def _found(path: Path, name: str, outcome: ImportOutcome) -> str:
    runs, events = len(outcome.run_keys), outcome.events
    found = f"{path.name} ({name}): {_some(runs, 'run')}, {_some(events, 'event')}"
    return found if outcome.first_time is None else f"{found} from {outcome.first_time} to {outcome.last_time}"


def _words(path: Path, name: str, outcome: ImportOutcome, *, is_sent: bool) -> str:
    found = _found(path, name, outcome)
    if not is_sent:
        return found + _used(outcome)
    known, refused = outcome.results["duplicate"], outcome.results["refused"]
    return f"{found}: {outcome.results['stored']} stored, {known} known already, {refused} refused."


def _used(outcome: ImportOutcome) -> str:
    """What a dry run says of the figures."""
    used = f"{_some(outcome.model_calls, 'model call')}, {outcome.input_tokens} tokens in, {outcome.output_tokens} out"
    cost = f"${outcome.cost_usd:f}" if outcome.model_calls > outcome.calls_without_cost else "cost unknown"
    return f"; {used}, {cost}. Nothing was sent."


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _fields(path: Path, name: str, outcome: ImportOutcome, skipped: Counter[str], *, is_sent: bool) -> dict[str, Any]:
    sent = {
        "stored": outcome.results["stored"],
        "duplicates": outcome.results["duplicate"],
        "refused": outcome.results["refused"],
        "run_ids": [run_id for run_id in outcome.run_keys.values() if run_id is not None],
    }
    return {
        "ok": not outcome.results["refused"],
        "file": str(path),
        "format": name,
        **_figures(outcome),
        "skipped": dict(skipped),
        **(sent if is_sent else {}),
    }


def _figures(outcome: ImportOutcome) -> dict[str, Any]:
    is_priced = outcome.model_calls > outcome.calls_without_cost
    return {
        "runs": len(outcome.run_keys),
        "events": outcome.events,
        "first_time": outcome.first_time,
        "last_time": outcome.last_time,
        "model_calls": outcome.model_calls,
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "cost_usd": f"{outcome.cost_usd:f}" if is_priced else None,
        "calls_without_cost": outcome.calls_without_cost,
    }
