"""`towerlog export`: the events of a run, or of all runs since a time, as lines of JSON or as CSV."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import click

from towerlog.cli.connect import with_client
from towerlog.cli.formatting import since_option, until_option
from towerlog.cli.output import note, progress, say
from towerlog.cli.untrusted import json_line, visible
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.endpoints import PAGE
from towerlog.sdk.api.shapes import Event, RunInfo

COLUMNS = ("run_id", "thread_id", "agent", "seq", "type", "name", "occurred_at", "recorded_at", "event_id", "data")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell."""


@click.command()
@with_client
@click.argument("run_id", required=False)
@since_option
@until_option
@click.option("--agent", help="Only runs of this agent.")
@click.option("--thread", "thread_id", help="Only runs of this thread.")
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A new file; default: standard output.")
def export(
    client: Client, as_json: bool, run_id: str | None, form: str, output: Path | None, **filters: str | None
) -> None:
    """Writes the events of RUN_ID, or of all runs created since a time, newest run first.

    In CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe. The file gets its name only
    when it is complete. The number of events is printed at the end; on standard error if the events go to standard
    output.
    """
    if (run_id is None) == (filters["since"] is None):
        raise click.UsageError("Give either a RUN_ID or --since.")
    chosen = iter([client.get_run(run_id, with_children=False)]) if run_id else client.list_runs(PAGE, **filters)
    counts = {"runs": 0, "events": 0}
    with written_to(output) as out, progress("runs") as done:
        write = writer(form, out)
        for run in chosen:
            for event in client.list_events(run.run_id):
                write(run, event)
                counts["events"] += 1
            counts["runs"] += 1
            done(counts["runs"])
    tell = note if output is None else say
    if as_json:
        tell(json_line({"ok": True, "file": None if output is None else str(output), **counts}))
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
        raise FileExistsError(17, "the file exists already", str(path))
    try:
        with partial.open("x", encoding="utf-8", newline="") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def writer(form: str, out: IO[str]) -> Callable[[RunInfo, Event], None]:
    """A function that writes an event of a run in a format."""
    if form == "ndjson":

        def write_line(run: RunInfo, event: Event) -> None:
            out.write(json_line({**_place(run), **event.raw}) + "\n")

        return write_line
    # Lines end as everywhere on a terminal; spreadsheets take both.
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)

    def write_row(run: RunInfo, event: Event) -> None:
        cells = {**_place(run), **event.raw, "data": json_line(event.data)}
        rows.writerow([_cell(cells.get(name)) for name in COLUMNS])

    return write_row


def _place(run: RunInfo) -> dict[str, str | None]:
    return {"run_id": run.run_id, "thread_id": run.thread_id, "agent": run.agent}


def _cell(value: object) -> str:
    text = "" if value is None else visible(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text
