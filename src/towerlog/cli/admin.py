"""`towerlog keys` and `towerlog orgs`: keys and organisations. They work beside a running server.

None of them creates a store, so that a mistyped folder is an error; `create` does with `--init`.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import click
import msgspec

from towerlog.ambient import SystemClock, SystemIds
from towerlog.cli.account import operator
from towerlog.cli.formatting import counted, limit_option
from towerlog.cli.groups import Group
from towerlog.cli.options import as_json
from towerlog.cli.output import answer, note, say, show_key
from towerlog.cli.run_ids import only_one
from towerlog.cli.server_options import with_server_settings
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.config import Settings
from towerlog.engine.audit.outside import key_created, key_revoked, organisation_removed
from towerlog.engine.bootstrap import DEFAULT_ORG, create_org
from towerlog.engine.commands.keys import mint_key
from towerlog.engine.erasure.removal import removed_now
from towerlog.errors import Conflict, NotFound
from towerlog.model.key import Key
from towerlog.model.principal import Org, Scope
from towerlog.model.removal import RemovedOrg
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.storage import open_identities, writable_store
from towerlog.store.base import Identities

T = TypeVar("T")
NAME_LENGTH = 200
KEY_COLUMNS = (
    Column("KEY ID", "id"),
    Column("NAME"),
    Column("PREFIX", rank=2),
    Column("SCOPES", rank=1),
    Column("CREATED", "time"),
    Column("REVOKED", "time", rank=3),
)
ORG_COLUMNS = (Column("ORG ID", "id"), Column("NAME"), Column("CREATED", "time"))


@click.group(cls=Group)
def keys() -> None:
    """API keys: create, list and revoke them."""


@click.group(cls=Group)
def orgs() -> None:
    """Organisations: create, list and remove them. Each has its own log and its own keys."""


def _scopes(_context: click.Context, _option: click.Parameter, text: str) -> tuple[Scope, ...]:
    known = ", ".join(Scope)
    wanted = [part.strip() for part in text.split(",")]
    for part in wanted:
        if part not in set(Scope):
            raise click.BadParameter(f"{part!r} is not a scope; known scopes are {known}")
    return tuple(scope for scope in Scope if scope in wanted)


def _name(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if not text.strip() or len(text) > NAME_LENGTH or not text.isprintable():
        raise click.BadParameter(f"must have 1 to {NAME_LENGTH} printable characters")
    return text


_org_option = click.option("--org", default=DEFAULT_ORG, show_default=True, help="The organisation, by name or id.")
_init_option = click.option("--init", is_flag=True, help="Create the store if there is none yet.")


@keys.command("create")
@with_server_settings()
@click.option("--name", required=True, callback=_name, help="What the key is for.")
@click.option("--scopes", required=True, callback=_scopes, help=f"Comma-separated: {', '.join(Scope)}.")
@_org_option
@_init_option
@as_json
def create_key(settings: Settings, name: str, scopes: tuple[Scope, ...], org: str, init: bool, as_json: bool) -> None:
    """Creates a key and prints it. It cannot be shown again."""

    async def act(identities: Identities) -> tuple[Org, Key, str]:
        found = await find_org(identities, org)
        user = identities.first_user(found.org)
        clock = SystemClock()
        minted = mint_key(clock, SystemIds(clock), found.org, user.user_id, name, scopes)
        identities.key_put(minted.key, key_created(operator(), minted.key))
        return found, minted.key, minted.text

    made_in, key, text = with_identities(settings, act, init=init)
    answer(
        as_json,
        {"key_id": key.key_id, "key": text, "name": name, "scopes": list(scopes), "org_id": made_in.org_id},
        lambda: show_key(text, what=f"Key {name!r} ({', '.join(scopes)}), id {key.key_id}"),
    )


@keys.command("ls")
@with_server_settings()
@_org_option
@limit_option
@with_view
@as_json
def list_keys(settings: Settings, org: str, limit: int, view: View, as_json: bool) -> None:
    """Lists an organisation's keys, newest first. Only their hashes are stored."""

    async def act(identities: Identities) -> list[Key]:
        return list(identities.keys((await find_org(identities, org)).org))

    found = with_identities(settings, act)[:limit]
    rows = [
        (key.key_id, key.name, key.hint, ",".join(key.scopes), format_ms(key.created_at), _when(key.revoked_at))
        for key in found
    ]
    answer(
        as_json,
        {"data": [key_fields(key) for key in found]},
        lambda: show_table(KEY_COLUMNS, rows, empty="No keys.", view=view),
    )


@keys.command("revoke")
@with_server_settings()
@click.argument("key_id")
@as_json
def revoke_key(settings: Settings, key_id: str, as_json: bool) -> None:
    """Revokes a key, given by its id or the beginning of it. A running server applies it within 5 seconds, to open
    streams too.
    """

    async def act(identities: Identities) -> Key:
        orgs = [org.org for org in await identities.orgs()]
        found = {key.key_id: org for org in orgs for key in identities.keys(org) if key.key_id.startswith(key_id)}
        whole = only_one(key_id, (key_id,) if key_id in found else tuple(found), "key")
        told = partial(key_revoked, operator())
        revoked = identities.key_revoke(found[whole], whole, SystemClock().now_ms(), told)
        assert revoked is not None
        return revoked

    key = with_identities(settings, act)
    answer(as_json, key_fields(key), lambda: say(f"Key {key.name!r} was revoked at {_when(key.revoked_at)}."))


@orgs.command("create")
@with_server_settings()
@click.argument("name", callback=_name)
@_init_option
@as_json
def create_organisation(settings: Settings, name: str, init: bool, as_json: bool) -> None:
    """Creates an organisation with an admin key, and prints the key. It cannot be shown again."""

    async def act(identities: Identities) -> tuple[Org, Key, str]:
        clock = SystemClock()
        made = await create_org(identities, clock, SystemIds(clock), name, by=operator())
        return made.org, made.key, made.text

    org, key, text = with_identities(settings, act, init=init)
    answer(
        as_json,
        {"org_id": org.org_id, "name": org.name, "key_id": key.key_id, "key": text},
        lambda: show_key(text, what=f"Organisation {org.name!r}, id {org.org_id}. Its admin key"),
    )


@orgs.command("ls")
@with_server_settings()
@with_view
@as_json
def list_organisations(settings: Settings, view: View, as_json: bool) -> None:
    """Lists the organisations, oldest first."""

    async def act(identities: Identities) -> list[Org]:
        return await identities.orgs()

    found = with_identities(settings, act)
    fields = [{"org_id": org.org_id, "name": org.name, "created_at": format_ms(org.created_at)} for org in found]
    rows = [(org.org_id, org.name, format_ms(org.created_at)) for org in found]
    answer(as_json, {"data": fields}, lambda: show_table(ORG_COLUMNS, rows, empty="None.", view=view))


@orgs.command("rm")
@with_server_settings()
@click.argument("org")
@click.option("--confirm", "name", help="The organisation's name, letter for letter; without it nothing is removed.")
@as_json
def remove_organisation(settings: Settings, org: str, name: str | None, as_json: bool) -> None:
    """Removes an organisation, given by its name or id, with all that it holds; says first what that is.

    A running server ends its keys, sessions and streams within 5 seconds, and erases the rest in the background.
    Nothing brings it back: `towerlog export` its runs, or back the store up, before.
    """

    async def act(identities: Identities) -> tuple[RemovedOrg, bool]:
        found = await find_org(identities, org)
        managing = settings.organisations_managed_by
        if found.name in (DEFAULT_ORG, managing):
            raise Conflict(f"The organisation {found.name!r} stays: settings and sign-ins go by it.")
        others = [one for one in await identities.orgs() if one.org != found.org]
        if not others:
            raise Conflict("The only organisation of a store stays.")
        removed = removed_now(found, await identities.org_holds(found.org), SystemClock().now_ms())
        if name is not None and name != found.name:
            raise Conflict(f"--confirm must be the name of the organisation that is removed, {found.name!r}.")
        if name is not None:
            told_in = next((one for one in others if one.name == managing), others[0])
            await identities.org_remove(removed, [organisation_removed(operator(), told_in.org, removed)])
        return removed, name is not None

    removed, is_removed = with_identities(settings, act)
    held = removed.held
    fields = {"org_id": removed.org_id, "name": removed.name, "removed": is_removed} | msgspec.structs.asdict(held)
    kinds = ((held.runs, "run"), (held.events, "event"), (held.keys, "key"), (held.members, "member"))
    holds = ", ".join(counted(*kind) for kind in kinds)
    done = f"Organisation {removed.name!r} is removed; {holds} are being erased."
    asked = f"Organisation {removed.name!r} holds {holds}. To remove it: --confirm {shlex.quote(removed.name)}"
    answer(as_json, fields, lambda: say(done if is_removed else asked))


def with_identities(settings: Settings, act: Callable[[Identities], Awaitable[T]], *, init: bool | None = None) -> T:
    """Opens the store for organisations and keys, and acts. Raises FileNotFoundError where there is none.

    `init` True creates it; None: this command has no such option.

    When this creates the first organisation, its admin key is printed on standard error: it cannot be shown again.
    """
    try:
        if not init:
            writable_store(settings)
    except FileNotFoundError as error:
        if init is None:
            raise
        words = "no store here; name its folder with --data-dir; `towerlog serve` or --init create one"
        raise FileNotFoundError(error.errno, words, error.filename) from None

    async def run() -> T:
        clock = SystemClock()
        identities, minted = await open_identities(settings, clock, SystemIds(clock))
        try:
            if minted is not None and settings.bootstrap_key:
                note('Created the organisation "default"; its admin key is the one in TOWERLOG_BOOTSTRAP_KEY.')
            elif minted is not None:
                show_key(minted.text, what='Created the organisation "default". Its admin key', aside=True)
            return await act(identities)
        finally:
            identities.close()

    return asyncio.run(run())


async def find_org(identities: Identities, wanted: str) -> Org:
    """The organisation with this id, else the one with this name, else the one whose id begins so. Raises NotFound."""
    found = {org.org_id: org for org in await identities.orgs()}
    if wanted in found:
        return found[wanted]
    for org in found.values():
        if org.name == wanted:
            return org
    ids = tuple(org_id for org_id in found if org_id.startswith(wanted))
    if not ids:
        raise NotFound("organisation", f"There is no organisation {wanted!r}; `towerlog orgs ls` lists them.")
    return found[only_one(wanted, ids, "organisation")]


def key_fields(key: Key) -> dict[str, object]:
    """A key as JSON, without its text, which is not stored."""
    return {
        "key_id": key.key_id,
        "name": key.name,
        "hint": key.hint,
        "scopes": list(key.scopes),
        "created_at": format_ms(key.created_at),
        "revoked_at": format_optional_ms(key.revoked_at),
    }


def _when(time_ms: int | None) -> str:
    return format_optional_ms(time_ms) or ""
