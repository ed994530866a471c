"""`towerlog retention`: how long content of runs that have ended is kept; and its erasure at once."""

from __future__ import annotations

import re

import click

from towerlog.cli.commands import SERVER, load
from towerlog.cli.connect import with_client
from towerlog.cli.escapes import visible
from towerlog.cli.formatting import counted, duration, size
from towerlog.cli.groups import ListGroup
from towerlog.cli.options import as_json, with_settings
from towerlog.cli.output import answer, say
from towerlog.cli.run_ids import full_run_id
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.config import Settings
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.retention.shapes import Erasure, Retention, RetentionDue

KINDS = ("deltas", "checkpoints", "events")
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZE = re.compile(r"([0-9]{1,9})(B|KiB|MiB|GiB|TiB)")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
COLUMNS = (Column("KIND"), Column("KEPT FOR"), Column("AT MOST"), Column("SET", "time", rank=1))
DUE = (
    Column("KIND"),
    Column("RUNS", "number"),
    Column("OLDEST ENDED", "time"),
    Column("HELD", "number", rank=1),
)


@click.group(cls=ListGroup)
def retention() -> None:
    """How long content is kept: list, set and clear it, and erase a run or a thread."""


def _age(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    found = None if text is None else _AGE.fullmatch(text.strip())
    if text is not None and found is None:
        raise click.BadParameter(f"{text!r} is no age such as 90m, 24h, 30d or 12w")
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    found = None if text is None else _SIZE.fullmatch(text.strip().replace(" ", ""))
    if text is not None and found is None:
        raise click.BadParameter(f"{text!r} is no size such as 500MiB or 20GiB")
    return None if found is None else int(found[1]) * _BYTES[found[2]]


@retention.command("ls")
@with_client
@with_view
def list_policies(client: Client, view: View, as_json: bool) -> None:
    """Lists how long each kind of content is kept. A kind that is not listed is kept for ever."""
    found = list(client.list_retention())
    answer(
        as_json,
        {"data": [policy.raw for policy in found]},
        lambda: show_table(COLUMNS, [_row(one) for one in found], empty="Everything is kept for ever.", view=view),
    )


@retention.command("set")
@with_client
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--max-age", callback=_age, help="After the run's end: an age such as 24h, 30d or 12w.")
@click.option("--max-bytes", callback=_size, help="As stored, over all runs: a size such as 500MiB or 20GiB.")
def set_policy(client: Client, kind: str, max_age: int | None, max_bytes: int | None, as_json: bool) -> None:
    """Sets how long a kind of content of runs that have ended is kept.

    deltas are the pieces in which answers came, checkpoints the histories, events all that a run has. What a run has
    cost, and when it was, stays.
    """
    if max_age is None and max_bytes is None:
        raise click.UsageError("say --max-age, --max-bytes or both; `towerlog retention clear` keeps everything")
    done = client.set_retention(kind, max_age_seconds=max_age, max_bytes=max_bytes)
    answer(as_json, dict(done.raw), lambda: say(f"Kept from now on: {_words(done)}."))


@retention.command("clear")
@with_client
@click.argument("kind", type=click.Choice(KINDS))
def clear_policy(client: Client, kind: str, as_json: bool) -> None:
    """Removes a limit: this kind of content is kept for ever again. Erased content does not come back."""
    gone = client.clear_retention(kind)
    answer(as_json, dict(gone.raw), lambda: say(f"Kept for ever from now on: {kind}. Before: {_words(gone)}."))


@retention.command("run")
@with_client
@click.option("--dry-run", is_flag=True, help="Only show what would be erased.")
@with_view
def run_policies(client: Client, dry_run: bool, view: View, as_json: bool) -> None:
    """Carries the policies out now. The server also does so every minute."""
    done = client.run_retention(dry_run=dry_run)

    def show() -> None:
        show_table(DUE, [_due_row(one) for one in done.data], empty="There are no policies.", view=view)
        if done.data and not dry_run:
            say("The server begins to erase that.")

    answer(as_json, dict(done.raw), show)


@retention.command("erase")
@with_client
@click.argument("name")
@click.option("--thread", "is_thread", is_flag=True, help="NAME is a thread: erase all its runs.")
@click.option("--children", is_flag=True, help="All runs below as well.")
@click.option("--yes", is_flag=True, help="Erase without asking.")
def erase(client: Client, name: str, is_thread: bool, children: bool, yes: bool, as_json: bool) -> None:
    """Erases the content of the run NAME, or of a thread. It cannot be undone.

    The runs must have ended. Their figures stay, and so do copies elsewhere: backups, and what webhooks have received.
    """
    wanted = name if is_thread else full_run_id(client, name)
    what = f"{'thread' if is_thread else 'run'} {visible(wanted)}"
    if not yes:
        click.confirm(f"Erase the content of {what} for good?", abort=True, err=True)
    call = client.erase_thread if is_thread else client.erase_run
    done = call(wanted, children=children)
    answer(as_json, dict(done.raw), lambda: _tell(what, done))


@retention.command("confirm-clock")
@with_settings()
@click.option("--yes", is_flag=True, help="Confirm without asking.")
@as_json
def confirm_clock(settings: Settings, yes: bool, as_json: bool) -> None:
    """Confirms that the machine's clock is right, where the server holds deletion by age back because of it.

    Says first how far the clock is off, and what is deleted then. The confirmation ends after an hour in which no
    server took it, or when the clock is set again. Works on the data folder or the database, while the server runs and
    while it does not.
    """
    module = load("clock", SERVER, "`towerlog retention confirm-clock`")
    module.confirm_clock(settings, yes, as_json)


def _tell(what: str, done: Erasure) -> None:
    counts: dict[str, tuple[int, int]] = {}
    for run in done.runs:
        for one in run.erased:
            known = counts.get(one.kind, (0, 0))
            counts[one.kind] = (known[0] + one.count, known[1] + one.bytes)
    told = ", ".join(f"{kind.replace('_', ' ')} {count:,} ({size(held)})" for kind, (count, held) in counts.items())
    say(f"Erased of {what}, {counted(len(done.runs), 'run')}: {told or 'nothing was left'}.")
    say(f"Kept: {done.kept}.")
    for place in done.not_reached:
        say(f"Not reached: {place}.")


def _row(policy: Retention) -> tuple[str | None, ...]:
    return (policy.kind, _for(policy), _at_most(policy), policy.updated_at)


def _for(policy: Retention) -> str | None:
    return None if policy.max_age_seconds is None else duration(policy.max_age_seconds * 1000)


def _at_most(policy: Retention) -> str | None:
    return None if policy.max_bytes is None else size(policy.max_bytes)


def _words(policy: Retention) -> str:
    age, most = _for(policy), _at_most(policy)
    told = [f"for {age} after the run's end" if age else "", f"at most {most}" if most else ""]
    return f"{policy.kind} {', '.join(word for word in told if word)}"


def _due_row(due: RetentionDue) -> tuple[str | None, ...]:
    runs = f"{due.runs:,}{'+' if due.has_more else ''}"
    return (due.kind, runs, due.oldest_ended_at, None if due.held_bytes is None else size(due.held_bytes))
