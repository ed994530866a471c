"""`towerlog members`: who may sign in to the dashboard, and as what."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from towerlog.cli.connect import with_admin
from towerlog.cli.escapes import visible
from towerlog.cli.formatting import limit_option
from towerlog.cli.groups import ListGroup
from towerlog.cli.output import answer, say
from towerlog.cli.run_ids import only_one
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.members.shapes import Member

_ARTICLES = {"viewer": "a", "operator": "an", "admin": "an"}
ROLES = tuple(_ARTICLES)
LINK_SECONDS = 24 * 3600
COLUMNS = (
    Column("USER ID", "id", rank=1),
    Column("NAME"),
    Column("E-MAIL", rank=2),
    Column("ROLE"),
    Column("PASSWORD", rank=3),
    Column("SINCE", "time", rank=4),
)


@click.group(cls=ListGroup)
def members() -> None:
    """Members: list, add, change and remove them."""


@members.command("ls")
@with_admin
@limit_option
@with_view
def list_members(client: Client, limit: int, view: View, as_json: bool) -> None:
    """Lists who may sign in, newest first."""
    found = list(islice(client.list_members(), limit))
    answer(
        as_json,
        {"data": [member.raw for member in found]},
        lambda: show_table(COLUMNS, [_row(member) for member in found], empty="No members.", view=view),
    )


@members.command("add")
@with_admin
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What the member may do.")
@click.option("--email", help="The member's e-mail address.")
def add_member(client: Client, name: str, role: str, email: str | None, as_json: bool) -> None:
    """Adds a member, and prints a link that signs it in, once, within a day."""
    made = client.create_member(name, role, email)
    link = client.create_sign_in_link(made.user_id, LINK_SECONDS)
    fields = {**made.raw, "url": link.url}
    answer(
        as_json,
        fields,
        lambda: say(
            f"{visible(name)} is now {_ARTICLES[role]} {role}. Sign-in link (works once, for 24 hours):\n{link.url}"
        ),
    )


@members.command("set")
@with_admin
@click.argument("member")
@click.option("--name", help="Another name.")
@click.option("--role", type=click.Choice(ROLES), help="Another role.")
@click.option("--email", help="Another e-mail address.")
def set_member(client: Client, member: str, as_json: bool, **given: Any) -> None:
    """Changes a member, given by its name, e-mail address or id."""
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("say what is to change: --name, --role or --email")
    done = client.change_member(find_member(client, member).user_id, **changes)
    answer(as_json, dict(done.raw), lambda: say(f"{visible(done.name)} is {done.role}."))


@members.command("rm")
@with_admin
@click.argument("member")
def remove_member(client: Client, member: str, as_json: bool) -> None:
    """Removes a member, given by its name, e-mail address or id; its sessions end within five seconds."""
    done = client.remove_member(find_member(client, member).user_id)
    answer(as_json, dict(done.raw), lambda: say(f"{visible(done.name)} is no member any more."))


def find_member(client: Client, wanted: str) -> Member:
    """The member with this id, name or address, else the one whose id begins so. Raises NotFound."""
    found = {member.user_id: member for member in client.list_members()}
    if wanted in found:
        return found[wanted]
    named = wanted.casefold()
    ids = tuple(
        user_id
        for user_id, member in found.items()
        if named in (member.name.casefold(), (member.email or "").casefold())
    )
    ids = ids or tuple(user_id for user_id in found if user_id.startswith(wanted.lower()))
    if not ids:
        raise NotFound("member", f"There is no member {wanted!r}; `towerlog members ls` lists them.")
    return found[only_one(wanted, ids, "member")]


def _row(member: Member) -> tuple[str | None, ...]:
    has_password = "set" if member.has_password else "none"
    return (member.user_id, member.name, member.email, member.role, has_password, member.created_at)
