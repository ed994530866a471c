"""`towerlog open`: the local server's dashboard in a browser, signed in by a link that this makes in the store."""

from __future__ import annotations

import webbrowser
from urllib.parse import quote

import click

from towerlog.ambient import SystemClock, SystemIds
from towerlog.cli.account import operator
from towerlog.cli.admin import find_org, with_identities
from towerlog.cli.connect import client_of, own_address
from towerlog.cli.options import as_json
from towerlog.cli.output import answer, say
from towerlog.cli.run_ids import full_run_id
from towerlog.cli.server_options import with_server_settings
from towerlog.config import Settings
from towerlog.dialects.native.admin.members import SIGN_IN_PATH
from towerlog.engine.audit.outside import link_made
from towerlog.engine.bootstrap import DEFAULT_ORG
from towerlog.errors import NotFound
from towerlog.model.member import DEFAULT_LINK_MS, TOKEN_CHARS, SignInLink, link_digest
from towerlog.model.principal import User
from towerlog.model.times import format_ms
from towerlog.store.base import Identities


@click.command("open")
@with_server_settings()
@click.option("--print", "is_printed", is_flag=True, help="Print the address, and open no browser.")
@click.option("--user", help="The member to sign in, by name, e-mail address or id; default: the first administrator.")
@click.option("--org", default=DEFAULT_ORG, show_default=True, help="The organisation, by name or id.")
@click.argument("run_id", required=False)
@as_json
def open_dashboard(
    settings: Settings, is_printed: bool, user: str | None, org: str, run_id: str | None, as_json: bool
) -> None:
    """Opens the dashboard of the local server, signed in.

    With RUN_ID, or the beginning of it, at the page of that run.
    The address signs in once, within 15 minutes. Whoever may write the data folder may make one.
    """
    # The address first: no link is made for a server that does not run.
    url = settings.public_url.rstrip("/") or own_address(settings, elsewhere="")

    page = "" if run_id is None else f"?next={quote(f'/runs/{_whole_id(settings, run_id)}', safe='')}"

    async def act(identities: Identities) -> tuple[User, SignInLink, str]:
        found = await find_org(identities, org)
        member = _member(identities, found.org, user)
        clock = SystemClock()
        ids, now = SystemIds(clock), clock.now_ms()
        token = ids.token(TOKEN_CHARS)
        link = SignInLink(found.org, ids.uuid(), link_digest(token), member.user_id, now, now + DEFAULT_LINK_MS)
        identities.link_put(link, link_made(operator(), link))
        return member, link, token

    member, link, token = with_identities(settings, act)
    path, mark, anchor = SIGN_IN_PATH.partition("#")
    address = f"{url}{path}{page}{mark}{anchor}{token}"
    is_open = not is_printed and not as_json and webbrowser.open(address)
    fields = {"url": address, "user_id": member.user_id, "expires_at": format_ms(link.expires_at)}
    answer(as_json, fields, lambda: say(f"Opened {url} in a browser, as {member.name}." if is_open else address))


def _whole_id(settings: Settings, given: str) -> str:
    """The run's id, which the local server is asked for where only its beginning is given. Raises NotFound."""
    with client_of(settings, None) as client:
        return full_run_id(client, given)


def _member(identities: Identities, org: int, wanted: str | None) -> User:
    """Whom to sign in. Raises NotFound."""
    members = identities.members(org)
    if wanted is None:
        return next(user for user in members if user.role == "admin")
    for user in members:
        if user.user_id == wanted or wanted.casefold() in (user.name.casefold(), (user.email or "").casefold()):
            return user
    raise NotFound("member", f"There is no member {wanted!r}; its administrators can create one.")
