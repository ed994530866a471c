"""`towerlog import`: sessions of coding agents and exports of tracing tools, as runs with their own times."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from towerlog.ambient import SystemClock
from towerlog.cli.connect import COMMANDS as OF_COMMANDS
from towerlog.cli.connect import client_of, local_key_explained, path_explained, server_of
from towerlog.cli.escapes import json_line
from towerlog.cli.exits import FOUND_WRONG, words_of
from towerlog.cli.importers.copies import MAX_ITEMS, Copies, copies_file
from towerlog.cli.importers.delivery import ImportOutcome, Sender
from towerlog.cli.importers.files import ENDINGS, FORMATS, events_in, format_of, found_in
from towerlog.cli.importers.sources import Source
from towerlog.cli.options import as_json, with_settings
from towerlog.cli.output import note, progress, say
from towerlog.config import Settings
from towerlog.errors import Malformed
from towerlog.sdk.api.client import Client
from towerlog.sdk.record.backlog.spool import state_folder

MAX_NAMED_LINES = 20
"""Lines of a file of which it is said why they could not be read."""
MAX_TOLD_LINES = 1_000
"""Lines of a file whose numbers --json tells."""


@click.command("import")
@with_settings()
@click.option("--url", help="The server's address; default: TOWERLOG_URL, else that of the local server.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="What the files are; default: as they look.")
@click.option("--dry-run", is_flag=True, help="Only say what is in the files; no server is asked.")
@as_json
@click.argument("named", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILE…")
def import_files(
    settings: Settings, url: str | None, form: str | None, dry_run: bool, as_json: bool, named: tuple[Path, ...]
) -> None:
    """Imports sessions of Claude Code and Codex, and exports of Langfuse and LangSmith, as runs.

    A session or a trace becomes a run, with its own times; a sub-agent of a session becomes a child. Of a folder all
    files below it are imported. Tokens and money are as the file tells them, or unknown. To import a file again changes
    nothing but what is new in it. A session that still goes on is imported without an end. Each file gets a line that
    says what became of it; with --json an object.
    """
    files = found_in(named)
    if not files:
        note(f"There are no files that end in {' or '.join(ENDINGS)}.")
        raise SystemExit(FOUND_WRONG)
    with local_key_explained(settings, OF_COMMANDS), path_explained(url):
        if dry_run:
            copies = Copies()
            done = [_tried(None, copies, path, form, as_json, is_named=path in named) for path in files]
        else:
            address, key = server_of(settings, url, OF_COMMANDS)
            name = address if isinstance(address, str) else address.name
            copies = Copies(copies_file(state_folder(), name, key))
            with client_of(settings, url) as client:
                done = [_tried(client, copies, path, form, as_json, is_named=path in named) for path in files]
    if copies.is_full:
        note(f"More than {MAX_ITEMS} entries are not remembered; what later sessions copy from these may count again.")
    if not all(done):
        raise SystemExit(FOUND_WRONG)


def _tried(
    client: Client | None, copies: Copies, path: Path, form: str | None, as_json: bool, *, is_named: bool
) -> bool:
    """Imports a file and says so. False if that is no success: a file in a folder may be of another program."""
    source = Source(path, SystemClock().now_ms(), copies)
    try:
        name = form or format_of(source)
        if name is None:
            _say_other(path, "is empty", as_json, is_ok=True)
            return True
    except (Malformed, OSError) as error:
        _say_other(path, words_of(error).removeprefix(f"{path}: "), as_json, is_ok=not is_named)
        return not is_named
    try:
        return _imported(client, source, name, as_json)
    except (Malformed, OSError) as error:
        copies.forget()
        _say_other(path, words_of(error).removeprefix(f"{path}: "), as_json, is_ok=False)
        return False


def _say_other(path: Path, words: str, as_json: bool, *, is_ok: bool) -> None:
    """Says of a file that it was not imported."""
    if as_json:
        click.echo(json_line({"ok": is_ok, "file": str(path), "imported": False, "message": words}))
    elif is_ok:
        say(f"{path.name}: {words}; not imported.")
    else:
        note(f"{path}: {words}; not imported.")


def _imported(client: Client | None, source: Source, name: str, as_json: bool) -> bool:
    """Imports a file and says so; whether all of it has arrived."""
    path, skipped, outcome = source.path, Counter[str](), ImportOutcome()
    events = events_in(source, name, lambda kind: skipped.update([kind]))
    with progress(f"events of {path.name}") as done:
        if client is None:
            for event in events:
                outcome.note(event)
                done(outcome.events)
        else:
            Sender(client, name, outcome).send(events, done)
    try:
        source.copies.keep()
    except OSError as error:
        note(f"{words_of(error)}; what later sessions have copied from {path.name} may count again.")
    if as_json:
        click.echo(json_line(_fields(source, name, outcome, skipped, is_sent=client is not None)))
    else:
        say(_words(source, name, outcome, is_sent=client is not None))
    for refusal in outcome.refusals:
        note(refusal)
    _note_lines(path, "left out", source.bad_lines)
    _note_lines(path, "read with replaced characters", source.mended_lines)
    return not (outcome.results["refused"] or source.bad_lines)


def _note_lines(path: Path, what: str, lines: dict[int, str]) -> None:
    """Says which lines of a file could not be read as they are."""
    for number, why in list(lines.items())[:MAX_NAMED_LINES]:
        note(f"{path}: line {number} {why}; {what}.")
    if len(lines) > MAX_NAMED_LINES:
        note(f"{path}: {len(lines) - MAX_NAMED_LINES} more lines were {what}.")


def _words(source: Source, name: str, outcome: ImportOutcome, *, is_sent: bool) -> str:
    runs, events = len(outcome.run_keys), outcome.events
    found = f"{source.path.name} ({name}): {_some(runs, 'run')}, {_some(events, 'event')}"
    if outcome.first_time is not None:
        found += f" from {outcome.first_time} to {outcome.last_time}"
    if source.bad_lines:
        found += f", without {_some(len(source.bad_lines), 'line')} that could not be read"
    if is_sent:
        known, refused = outcome.results["duplicate"], outcome.results["refused"]
        return f"{found}: {outcome.results['stored']} stored, {known} known already, {refused} refused."
    used = f"{_some(outcome.model_calls, 'model call')}, {outcome.input_tokens} tokens in, {outcome.output_tokens} out"
    cost = f"${outcome.cost_usd:f}" if outcome.model_calls > outcome.calls_without_cost else "cost unknown"
    return f"{found}; {used}, {cost}. Nothing was sent."


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _fields(
    source: Source, name: str, outcome: ImportOutcome, skipped: Counter[str], *, is_sent: bool
) -> dict[str, Any]:
    is_priced = outcome.model_calls > outcome.calls_without_cost
    sent = {
        "stored": outcome.results["stored"],
        "duplicates": outcome.results["duplicate"],
        "refused": outcome.results["refused"],
        "run_ids": [run_id for run_id in outcome.run_keys.values() if run_id is not None],
    }
    return {
        "ok": not (outcome.results["refused"] or source.bad_lines),
        "file": str(source.path),
        "format": name,
        "runs": len(outcome.run_keys),
        "events": outcome.events,
        "first_time": outcome.first_time,
        "last_time": outcome.last_time,
        "model_calls": outcome.model_calls,
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "cost_usd": f"{outcome.cost_usd:f}" if is_priced else None,
        "calls_without_cost": outcome.calls_without_cost,
        "skipped": dict(skipped),
        "bad_lines": list(source.bad_lines)[:MAX_TOLD_LINES],
        "mended_lines": list(source.mended_lines)[:MAX_TOLD_LINES],
        **(sent if is_sent else {}),
    }
