"""`towerlog audit`: who has changed what, when and from where."""

from __future__ import annotations

from itertools import islice

import click

from towerlog.cli.connect import with_admin
from towerlog.cli.escapes import json_line
from towerlog.cli.formatting import limit_option, point_in_time
from towerlog.cli.output import answer
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.fleet_shapes import AuditEntry
from towerlog.sdk.api.shapes import Json

COLUMNS = (
    Column("WHEN", "time"),
    Column("WHO", least=24),
    Column("FROM", rank=4),
    Column("ACTION", least=14),
    Column("OBJECT", "id", rank=2),
    Column("BEFORE", rank=3),
    Column("AFTER", rank=1, least=20),
)


@click.command()
@with_admin
@click.option(
    "--actor",
    help="Only this user, key, rule or budget, by id or name; an answer link; an account of the server's machine.",
)
@click.option("--action", help="Only this action, such as key.revoke.")
@click.option("--object", help="Only what was done to the thing with this id.")
@click.option("--since", callback=point_in_time, help="Done at or after: RFC 3339, or an age such as 90m, 24h, 7d.")
@limit_option
@with_view
def audit(client: Client, limit: int, view: View, as_json: bool, **filters: str | None) -> None:
    """Shows who has changed what, when and from where, newest first. Elsewhere than on the server's
    machine it needs a key with the scope admin.

    `towerlog verify` checks that nothing of it was changed or taken away.
    """
    found = list(islice(client.list_audit(**filters), limit))
    answer(
        as_json,
        {"data": [entry.raw for entry in found]},
        lambda: show_table(COLUMNS, [_row(entry) for entry in found], empty="Nothing was changed.", view=view),
    )


def _row(entry: AuditEntry) -> tuple[str, ...]:
    changed = _changes(entry.before, entry.after)
    return (entry.at, _who(entry), entry.address or "", entry.action, entry.object.id, *changed)


def _who(entry: AuditEntry) -> str:
    actor = entry.actor
    maker = f"{actor.user_name or actor.user_id}, key {actor.key_name or actor.key_id}"
    if actor.type == "link":
        rule = f"rule {actor.rule_name or actor.rule_id}"
        return f"{actor.sent_to}, link of {rule if actor.rule_id else maker}"
    if actor.type == "key":
        return maker
    return f"{actor.type} {actor.user_name or actor.rule_name or actor.budget_name or ''}".rstrip()


def _changes(before: Json | None, after: Json | None) -> tuple[str, str]:
    """The members that differ, as JSON."""
    was, now = before or {}, after or {}
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return tuple(  # type: ignore[return-value]  # two of them
        json_line({name: state[name] for name in names if name in state}, compact=True) if state else ""
        for state in (was, now)
    )
