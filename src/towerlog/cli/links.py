"""`towerlog links`: links that sign a member in and were not used."""

from __future__ import annotations

from itertools import islice

import click

from towerlog.cli.connect import with_admin
from towerlog.cli.formatting import limit_option
from towerlog.cli.groups import ListGroup
from towerlog.cli.output import answer, say
from towerlog.cli.run_ids import only_one
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.members.shapes import SignInLink
from towerlog.sdk.wire.errors import ApiError

FORBIDDEN = 403
COLUMNS = (
    Column("LINK ID", "id"),
    Column("MEMBER"),
    Column("MADE BY", rank=1),
    Column("CREATED", "time", rank=2),
    Column("EXPIRES", "time"),
)


@click.group(cls=ListGroup)
def links() -> None:
    """Sign-in links: list and revoke them."""


@links.command("ls")
@with_admin
@limit_option
@with_view
def list_links(client: Client, limit: int, view: View, as_json: bool) -> None:
    """Lists links that have not been used yet, newest first."""
    found = list(islice(client.list_sign_in_links(), limit))
    names = {} if as_json or not found else _names(client)
    answer(
        as_json,
        {"data": [link.raw for link in found]},
        lambda: show_table(COLUMNS, [_row(link, names) for link in found], empty="No links.", view=view),
    )


@links.command("rm")
@with_admin
@click.argument("link_id")
def remove_link(client: Client, link_id: str, as_json: bool) -> None:
    """Revokes a sign-in link. The beginning of its id is enough."""
    ids = tuple(one.link_id for one in client.list_sign_in_links() if one.link_id.startswith(link_id.lower()))
    if not ids:
        raise NotFound("link", f"There is no link {link_id!r}; `towerlog links ls` lists them.")
    gone = client.end_sign_in_link(only_one(link_id, ids, "link"))
    answer(as_json, dict(gone.raw), lambda: say(f"Link taken back: {gone.link_id}."))


def _names(client: Client) -> dict[str, str]:
    """The names of members and of keys, by their ids: either may have made a link."""
    names = {one.user_id: one.name for one in client.list_members()}
    try:
        return names | {one.key_id: f"key {one.name!r}" for one in client.list_keys()}
    except ApiError as error:
        if error.status != FORBIDDEN:
            raise
        return names


def _row(link: SignInLink, names: dict[str, str]) -> tuple[str | None, ...]:
    by = names.get(link.made_by or "", link.made_by) or "the server's operator"
    return (link.link_id, names.get(link.user_id, link.user_id), by, link.created_at, link.expires_at)
