"""How a command reaches a server: the address, the key, and the key file of the local data folder.

TOWERLOG_API_KEY is used if it is set. Without it, and without another address, a key of the local store is used: it is
created at first use, as `towerlog keys create` would, kept in the data folder (`cli.key`; `worker.key` for workers,
`admin.key` for administration),
readable only by its owner, and sent only to the server that has this store open, wherever that listens.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from towerlog.cli.commands import SERVER, load
from towerlog.cli.exits import NoKey
from towerlog.cli.options import as_json, with_settings
from towerlog.config import BadSetting, Settings, database_path, doubts, existing_database
from towerlog.sdk.api.client import Client
from towerlog.sdk.wire.address import MovingUrl, Url
from towerlog.sdk.wire.errors import ApiError, Unreachable
from towerlog.store.server_address import address_of_server


@dataclass(frozen=True)
class LocalKey:
    """A key of the data folder: its file, its name in the list of keys, and its scopes."""

    file: str
    name: str
    scopes: tuple[str, ...]


ELSEWHERE = "set TOWERLOG_URL and TOWERLOG_API_KEY"
"""What helps a command that asks a server, beside a server of its own."""
COMMANDS = LocalKey("cli.key", "towerlog command line", ("ingest", "read", "control"))
"""The key of the commands. It allows nothing that the owner of the data folder could not do anyway."""
WORKERS = LocalKey("worker.key", "towerlog worker", ("ingest", "worker"))
"""The key of a worker and of the agents in its process, which need no more than this."""


ADMINISTRATION = LocalKey("admin.key", "towerlog administration", ("admin",))
"""The key of the commands that need more. It too allows nothing that the owner of the data folder could not do."""


def with_client(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command its first argument, `client`, and the options behind it, and `--json` as `as_json`."""
    return _with_client(command, COMMANDS)


def with_admin(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that administers: on the local server with a key that may."""
    return _with_client(command, ADMINISTRATION)


def _with_client(command: Callable[..., Any], local: LocalKey) -> Callable[..., Any]:
    @wraps(command)
    def run(settings: Settings, url: str | None, **values: Any) -> Any:
        _check_given(click.get_current_context())
        with client_of(settings, url, local) as client, local_key_explained(settings, local), path_explained(url):
            return command(client, **values)

    option = click.option("--url", help="The server's address; default: TOWERLOG_URL, else that of the local server.")
    decorated: Callable[..., Any] = with_settings()(option(as_json(run)))
    return decorated


def _check_given(context: click.Context) -> None:
    """Raises BadParameter for an option that is given and blank, as by a variable that is not set: it would say no more
    than one that is left out, which often means everything."""
    for option in context.command.params:
        value = context.params.get(option.name or "")
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(option, click.Option) and any(isinstance(one, str) and not one.strip() for one in values):
            raise click.BadParameter("must not be blank: leave it out", ctx=context, param=option)


def client_of(settings: Settings, url: str | None, local: LocalKey = COMMANDS) -> Client:
    """A client with the key that belongs to the address. Raises BadSetting where there is none."""
    try:
        return Client(*server_of(settings, url, local))
    except ValueError as error:
        raise BadSetting(str(error)) from None


def server_of(settings: Settings, url: str | None, local: LocalKey) -> tuple[Url, str]:
    """The server's address and the key that belongs to it.

    The address of the local store's server is looked up before each new connection: a server that is started again may
    listen elsewhere, and its key is for nobody else.

    Raises BadSetting where there is no key, and what `address_of` and `local_key` raise.
    """
    key = os.environ.get("TOWERLOG_API_KEY")
    if not key and (url or os.environ.get("TOWERLOG_URL")):
        words = "TOWERLOG_API_KEY is not set; the key in the local data folder is only for the local server"
        raise NoKey("; ".join((words, *misspelled())))
    # The address first: no key is made for a server that does not run.
    if key:
        return address_of(settings, url), key
    name = f"server of {database_path(settings).absolute()}"
    return MovingUrl(name, lambda: own_address(settings)), local_key(settings, local)


def address_of(settings: Settings, url: str | None) -> str:
    """The address that is asked: the one that was named; else, with a key of the environment, that of the settings.

    Without such a key: the one at which the store's own server listens. Raises FileNotFoundError where there is no
    store, Unreachable where its server does not run on this machine, OSError.
    """
    named = url or os.environ.get("TOWERLOG_URL")
    if named:
        return named
    if os.environ.get("TOWERLOG_API_KEY"):
        return local_url(settings)
    return own_address(settings)


def own_address(settings: Settings, *, elsewhere: str = ELSEWHERE) -> str:
    """Where the local store's own server listens now. Raises as `address_of` does.

    `elsewhere`: what else helps, in the words of the error; empty for a command that asks no other server.
    """
    database = _local_database(settings, elsewhere)
    try:
        found = address_of_server(database)
    except ValueError as error:
        raise Unreachable("; ".join(filter(None, (str(error), elsewhere)))) from None
    if found is None:
        raise Unreachable(
            "; ".join(
                (
                    f"no server of {database} is running: start it with `towerlog serve`"
                    + (f", or {elsewhere} for another one" if elsewhere else ""),
                    *misspelled(),
                )
            )
        )
    return found


def _local_database(settings: Settings, elsewhere: str) -> Path:
    try:
        return existing_database(settings)
    except FileNotFoundError as error:
        words = "; ".join((f"{error.strerror}{f', or {elsewhere}' if elsewhere else ''}", *misspelled()))
        raise FileNotFoundError(error.errno, words, error.filename) from None


@contextmanager
def local_key_explained(settings: Settings, local: LocalKey) -> Iterator[None]:
    """Says what is wrong when the server does not know the key of the data folder. Raises ApiError with those words."""
    try:
        yield
    except ApiError as error:
        if error.status != 401 or os.environ.get("TOWERLOG_API_KEY"):
            raise
        file = database_path(settings).parent / local.file
        raise ApiError(
            error.status,
            error.code,
            f"the server does not know the key in {file}: it was revoked, or the store is a backup from before it. "
            "Remove the file, and the next command creates another key",
            trace_id=error.trace_id,
        ) from None


@contextmanager
def path_explained(url: str | None) -> Iterator[None]:
    """Says which address was asked, where its path may be why nothing was found. Raises ApiError with those words."""
    try:
        yield
    except ApiError as error:
        named = url or os.environ.get("TOWERLOG_URL") or ""
        if error.status != 404 or not urlsplit(named).path.strip("/"):
            raise
        words = f"{error.message} The address that was asked is {named}; a server has a path only behind a proxy."
        raise ApiError(error.status, error.code, words, trace_id=error.trace_id) from None


def misspelled() -> list[str]:
    """Variables of the environment that look like the address or the key of the server, and are not."""
    return [doubt for doubt in doubts() if "did you mean TOWERLOG_URL" in doubt or "mean TOWERLOG_API_KEY" in doubt]


def local_url(settings: Settings) -> str:
    """Where a server with these settings would listen, seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def local_key(settings: Settings, local: LocalKey = COMMANDS) -> str:
    """The key in the data folder's file, made when there is none.

    Raises FileNotFoundError where there is no store, NotInstalled where the packages for it are missing.
    """
    file = _local_database(settings, ELSEWHERE).parent / local.file
    # Neither module is needed with a key of the environment; only to make one opens the store.
    read_key = load("key_file", SERVER, "the key of the data folder").read_key
    try:
        found: str = read_key(file)
    except FileNotFoundError:
        make_key = load("local_key", SERVER, "the key of the data folder").make_key
        made: str | None = asyncio.run(make_key(settings, file, local.name, local.scopes))
        found = read_key(file) if made is None else made
    return found
