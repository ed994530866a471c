"""`towerlog export`: the events of a run or of many, or the runs themselves, as lines of JSON or as CSV."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import click

from towerlog.cli.connect import with_client
from towerlog.cli.escapes import json_line, visible
from towerlog.cli.formatting import since_option, until_option
from towerlog.cli.options import NewFile
from towerlog.cli.output import note, progress, say
from towerlog.cli.run_ids import full_run_id
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.endpoints import PAGE
from towerlog.sdk.api.shapes import RunInfo
from towerlog.store.owner import FILE_MODE, give_to_owner

EVENT_COLUMNS = (
    "run_id",
    "thread_id",
    "agent",
    "seq",
    "type",
    "name",
    "occurred_at",
    "recorded_at",
    "duration_ms",
    "event_id",
    "data",
    "hash",
)
RUN_COLUMNS = (
    "run_id",
    "thread_id",
    "trace_id",
    "parent_run_id",
    "agent",
    "source",
    "model",
    "status",
    "created_at",
    "started_at",
    "ended_at",
    "duration_ms",
    "total_input_tokens",
    "total_output_tokens",
    "total_cost_usd",
    "attempt",
    "last_seq",
    "error",
    "metadata",
)
COLUMNS = {"events": EVENT_COLUMNS, "runs": RUN_COLUMNS}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for a formula at the beginning of a cell; the last four are the wide forms of the first."""


@click.command()
@with_client
@click.argument("run_id", required=False)
@click.option(
    "--what", type=click.Choice(["events", "runs"]), default="events", show_default=True, help="What a line is."
)
@since_option
@until_option
@click.option("--agent", help="Only runs of this agent.")
@click.option("--thread", "thread_id", help="Only runs of this thread.")
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True)
@click.option("-o", "--output", type=NewFile(), help="A new file; default: standard output.")
def export(
    client: Client,
    as_json: bool,
    run_id: str | None,
    what: str,
    form: str,
    output: Path | None,
    **filters: str | None,
) -> None:
    """Writes the events of one run or of many, or the runs themselves, as lines of JSON or as CSV.

    Give a RUN_ID, or a time since which the runs were created; those are written newest first. Every number is written
    as it was sent, and `hash` closes the chain of a run's log. In CSV, a cell that a spreadsheet would take for a
    formula begins with an apostrophe. The file gets its name only when it is complete, and only its owner can read it;
    one that root writes belongs to the owner of its folder. The number of lines is printed at the end; on standard
    error if they go to standard output.
    """
    if (run_id is None) == (filters["since"] is None):
        raise click.UsageError("Give either a RUN_ID or --since.")
    if run_id is None:
        chosen = client.list_runs(PAGE, **filters)
    else:
        chosen = iter([client.get_run(full_run_id(client, run_id), with_children=False)])
    counts = {"runs": 0, "events": 0}
    with written_to(output) as out, progress("runs") as done:
        write = writer(form, COLUMNS[what], out)
        for run in chosen:
            if what == "runs":
                write(run.raw)
            else:
                for event in client.list_events(run.run_id):
                    write({**_place(run), **event.raw})
                    counts["events"] += 1
            counts["runs"] += 1
            done(counts["runs"])
    _tell(counts, what, output, as_json)


def _tell(counts: dict[str, int], what: str, output: Path | None, as_json: bool) -> None:
    tell = note if output is None else say
    if as_json:
        tell(json_line({"ok": True, "file": None if output is None else str(output), **counts}))
    elif what == "runs":
        tell(f"{counts['runs']} runs.")
    elif output is not None or counts["runs"] != 1:
        tell(f"{counts['events']} events of {counts['runs']} runs.")


@contextlib.contextmanager
def written_to(path: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a new file that gets its name when it is complete. Raises FileExistsError."""
    if path is None:
        yield sys.stdout
        return
    partial = path.with_name(f"{path.name}.part")
    if path.exists():
        raise FileExistsError(errno.EEXIST, "this file exists already; choose another name", str(path))
    # Removed only by whoever has made it: one that exists already is another export's.
    with open(partial, "x", encoding="utf-8", newline="", opener=_for_its_owner) as out:
        try:
            yield out
            out.flush()
            os.fsync(out.fileno())
            give_to_owner(partial)
            os.link(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _for_its_owner(path: str, flags: int) -> int:
    """Opens a file that nobody else may read: what agents and people have said is in it."""
    return os.open(path, flags, FILE_MODE)


def writer(form: str, columns: Sequence[str], out: IO[str]) -> Callable[[Mapping[str, Any]], None]:
    """A function that writes an object in a format; `columns` are those of its members that CSV has."""
    if form == "ndjson":
        return lambda members: print(json_line(members, compact=True), file=out)
    # Lines end as everywhere on a terminal; spreadsheets take both.
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(columns)
    return lambda members: rows.writerow([_cell(name, members.get(name)) for name in columns])


def _place(run: RunInfo) -> dict[str, str | None]:
    return {"run_id": run.run_id, "thread_id": run.thread_id, "agent": run.agent}


def _cell(name: str, value: object) -> str:
    """Text as it is; anything else, and what may be of any type, as JSON."""
    if value is None and name != "data":
        return ""
    text = visible(value) if isinstance(value, str) and name != "data" else json_line(value, compact=True)
    # Blanks of every alphabet: a spreadsheet may drop them before it looks for a formula.
    return f"'{text}" if text.strip().startswith(FORMULA) else text
