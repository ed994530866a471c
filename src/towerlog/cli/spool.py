"""`towerlog spool`: events that programs on this machine could not deliver, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import click

from towerlog.cli.connect import COMMANDS, server_of
from towerlog.cli.exits import FOUND_WRONG
from towerlog.cli.groups import Group
from towerlog.cli.options import as_json, with_settings
from towerlog.cli.output import answer, note, say
from towerlog.cli.run_ids import CUT, only_one
from towerlog.cli.tables import Column, show_table
from towerlog.config import BadSetting, Settings
from towerlog.model.times import format_ms
from towerlog.sdk.record.backlog.destination import Destination
from towerlog.sdk.record.backlog.spool import spool_root
from towerlog.sdk.record.backlog.spools import SpoolInfo, drop_spool, find_spools, left_behind, list_spools, move_spool
from towerlog.sdk.record.recorder import Recorder

DELIVERY_S = 60.0
_spool_dir = click.option(
    "--spool-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the spools; default: towerlog/spool in the folder for state.",
)
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Group)
def spool() -> None:
    """Undelivered events on this machine: list, send or delete them."""


def _with_root(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the folder of the spools as `root`."""

    @wraps(command)
    def run(settings: Settings, spool_dir: Path | None, **values: Any) -> Any:
        return command(settings, spool_dir or spool_root(), **values)

    decorated: Callable[..., Any] = with_settings()(_spool_dir(as_json(run)))
    return decorated


@spool.command("ls")
@_with_root
def list_all(settings: Settings, root: Path, as_json: bool) -> None:
    """Lists spools with undelivered events, and why they wait."""
    found = list_spools(root)
    columns = (
        Column("SPOOL ID", "id"),
        Column("EVENTS", "number"),
        Column("BYTES", "number", rank=4),
        Column("OLDEST", "time", rank=2),
        Column("URL", rank=1, least=24),
        Column("KEY", rank=3),
        # The one answer that the list is for.
        Column("DELIVERED BY", least=28),
    )
    answer(
        as_json,
        {"data": [asdict(one) for one in found]},
        lambda: show_table(columns, [_row(one) for one in found], empty="No undelivered events."),
    )


def _row(one: SpoolInfo) -> tuple[str, ...]:
    oldest = "" if one.oldest_ms is None else format_ms(one.oldest_ms)
    if one.why_not is not None:
        by = f"`spool adopt` only: {one.why_not}"
    elif one.held:
        by = "a running program"
    else:
        by = "the next program of this key"
    return (one.spool_id, str(one.events), str(one.bytes), oldest, one.url or "", one.key or "", by)


@spool.command("adopt")
@_with_root
@click.argument("spool_id")
@click.option("--url", help="The server's address; default: TOWERLOG_URL, else that of the local server.")
@_yes
def adopt(settings: Settings, root: Path, spool_id: str, url: str | None, yes: bool, as_json: bool) -> None:
    """Sends the events of a spool to the server and organisation of this command's URL and key.

    Events of programs that are still running stay with them. Exits with 1 where any other stays undelivered.
    """
    folder = _found(root, spool_id)
    try:
        destination = Destination.of(*server_of(settings, url, COMMANDS))
    except ValueError as error:
        raise BadSetting(str(error)) from None
    _confirm(yes, f"Send the events of spool {folder.name} to {destination.url}?")
    home = destination.folder(root)
    moved = 0 if folder == home else move_spool(folder, root, destination)
    recorder = Recorder(destination=destination, spool_dir=root)
    delivered = recorder.drain(DELIVERY_S)
    status = recorder.status()
    recorder.close(0.0)
    left = [line for one in sorted({folder, home}) for line in left_behind(one)]
    fields = {"moved": moved, "delivered": status.acknowledged, "dropped": status.dropped, "left": left}

    def words() -> None:
        say(f"Events delivered: {status.acknowledged}.")
        if status.dropped:
            say(f"Events dropped: {status.dropped}. {status.last_error or ''}")
        if not delivered:
            say(f"Not delivered: {status.last_error or 'no reply in time'}. The rest is kept for this URL and key.")

    answer(as_json, fields, words)
    _end(left, is_done=delivered)


@spool.command("drop")
@_with_root
@click.argument("spool_id")
@_yes
def drop(settings: Settings, root: Path, spool_id: str, yes: bool, as_json: bool) -> None:
    """Deletes the events of a spool.

    Those of programs that are still running stay. Exits with 1 where any other does.
    """
    folder = _found(root, spool_id)
    _confirm(yes, f"Delete the undelivered events of spool {folder.name}?")
    dropped = drop_spool(folder)
    left = left_behind(folder)
    answer(as_json, {"dropped": dropped, "left": left}, lambda: say(f"Events deleted: {dropped}."))
    _end(left)


def _end(left: list[str], *, is_done: bool = True) -> None:
    """Names what was left behind, and exits with 1 for that and for what is not done."""
    for place in left:
        note(f"Left behind: {place}")
    if left or not is_done:
        raise SystemExit(FOUND_WRONG)


def _found(root: Path, spool_id: str) -> Path:
    spool_id = spool_id.removesuffix(CUT)
    found = find_spools(root, spool_id)
    name = only_one(spool_id, tuple(folder.name for folder in found), "spool")
    return next(folder for folder in found if folder.name == name)


def _confirm(yes: bool, question: str) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)
