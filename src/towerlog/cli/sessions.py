"""`towerlog sessions`: the browsers in which members are signed in."""

from __future__ import annotations

from itertools import islice

import click

from towerlog.cli.connect import with_admin
from towerlog.cli.formatting import limit_option
from towerlog.cli.groups import ListGroup
from towerlog.cli.members import find_member
from towerlog.cli.output import answer, say
from towerlog.cli.run_ids import only_one
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.members.shapes import Session

COLUMNS = (
    Column("SESSION ID", "id"),
    Column("MEMBER"),
    Column("FROM", rank=1),
    Column("BEGAN", "time", rank=2),
    Column("LAST USED", "time"),
    Column("EXPIRES", "time", rank=3),
)


@click.group(cls=ListGroup)
def sessions() -> None:
    """Sessions of members: list and end them."""


@sessions.command("ls")
@with_admin
@click.option("--member", help="Only of this member, given by its name, e-mail address or id.")
@limit_option
@with_view
def list_sessions(client: Client, member: str | None, limit: int, view: View, as_json: bool) -> None:
    """Lists open sessions, newest first."""
    user_id = None if member is None else find_member(client, member).user_id
    found = list(islice(client.list_sessions(user_id), limit))
    names = {} if as_json or not found else {one.user_id: one.name for one in client.list_members()}
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(COLUMNS, [_row(one, names) for one in found], empty="No sessions.", view=view),
    )


@sessions.command("rm")
@with_admin
@click.argument("session_id")
def end_session(client: Client, session_id: str, as_json: bool) -> None:
    """Ends a session and signs its browser out. The beginning of its id is enough."""
    ids = tuple(one.session_id for one in client.list_sessions() if one.session_id.startswith(session_id.lower()))
    if not ids:
        raise NotFound("session", f"There is no session {session_id!r}; `towerlog sessions ls` lists them.")
    gone = client.end_session(only_one(session_id, ids, "session"))
    answer(as_json, dict(gone.raw), lambda: say(f"Session ended: {gone.session_id}."))


def _row(one: Session, names: dict[str, str]) -> tuple[str | None, ...]:
    member = names.get(one.user_id, one.user_id)
    return (one.session_id, member, one.address, one.created_at, one.last_used_at, one.expires_at)
