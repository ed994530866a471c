"""How a command reaches a server: the address, the key, and the key file of the local data folder.

With TOWERLOG_API_KEY that key is used. Without one, and without another address, a key of the local store is: it is
made at first use, as `towerlog keys create` would, kept in the data folder (`cli.key`, and `worker.key` for workers),
readable by its owner alone, and sent to the address that the settings name and to no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from towerlog.ambient import SystemClock, SystemIds
from towerlog.cli.options import as_json, with_settings
from towerlog.config import BadSetting, Settings
from towerlog.engine.bootstrap import DEFAULT_ORG
from towerlog.engine.commands.keys import mint_key
from towerlog.errors import NotFound
from towerlog.model.key import is_intact
from towerlog.model.principal import Scope
from towerlog.sdk.api.client import Client
from towerlog.server import existing_database, open_identities

OWNER_ONLY = 0o600


@dataclass(frozen=True)
class LocalKey:
    """A key of the data folder: its file, its name in the list of keys, and what it is good for."""

    file: str
    name: str
    scopes: tuple[Scope, ...]


COMMANDS = LocalKey("cli.key", "towerlog command line", (Scope.INGEST, Scope.READ, Scope.CONTROL))
"""What the commands need; who may use the data folder may do all of it anyway."""
WORKERS = LocalKey("worker.key", "towerlog worker", (Scope.INGEST, Scope.WORKER))
"""What a worker needs, and the agents in its process, who need not be trusted with more."""


def with_client(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command its first argument, `client`, and the options behind it, and `--json` as `as_json`."""

    @wraps(command)
    def run(settings: Settings, url: str | None, **values: Any) -> Any:
        with client_of(settings, url) as client:
            return command(client, **values)

    option = click.option("--url", help="The server's address; default: TOWERLOG_URL, else the settings' own.")
    decorated: Callable[..., Any] = with_settings()(option(as_json(run)))
    return decorated


def client_of(settings: Settings, url: str | None) -> Client:
    """A client with the key that belongs to the address. Raises BadSetting where there is none."""
    try:
        return Client(*server_of(settings, url, COMMANDS))
    except ValueError as error:
        raise BadSetting(str(error)) from None


def server_of(settings: Settings, url: str | None, local: LocalKey) -> tuple[str, str]:
    """The server's address and the key that belongs to it. Raises BadSetting where there is none."""
    named = url or os.environ.get("TOWERLOG_URL")
    key = os.environ.get("TOWERLOG_API_KEY")
    if not key and named:
        raise BadSetting("TOWERLOG_API_KEY is not set; the local data folder's key is for the local server alone")
    return named or local_url(settings), key or local_key(settings, local)


def local_url(settings: Settings) -> str:
    """Where a server with these settings listens, seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def local_key(settings: Settings, local: LocalKey = COMMANDS) -> str:
    """The key in the data folder's file, made when there is none. Raises FileNotFoundError where there is no store."""
    file = existing_database(settings).parent / local.file
    try:
        return read_key(file)
    except FileNotFoundError:
        return asyncio.run(_made(settings, local, file))


def read_key(file: Path) -> str:
    """The key in a file. Raises BadSetting for a file that others may read, or that holds something else."""
    with file.open("r", encoding="ascii", errors="replace") as opened:
        status = os.fstat(opened.fileno())
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
            raise BadSetting(
                f"{file}: others may have read this key; revoke it (towerlog keys list) and remove the file"
            )
        key = opened.read(1000).strip()
    if not is_intact(key):
        raise BadSetting(f"{file}: holds no key; remove it, and a new one is made")
    return key


async def _made(settings: Settings, local: LocalKey, file: Path) -> str:
    """Mints a key and writes its file whole or not at all; where two do so at once, one file wins and both use it."""
    clock = SystemClock()
    ids = SystemIds(clock)
    identities, _ = await open_identities(settings, clock, ids)
    try:
        org = next((org for org in await identities.orgs() if org.name == DEFAULT_ORG), None)
        if org is None:
            raise NotFound("organisation", f"There is no organisation {DEFAULT_ORG!r}: set TOWERLOG_API_KEY.")
        user = identities.first_user(org.org)
        minted = mint_key(clock, ids, org.org, user.user_id, local.name, local.scopes)
        identities.key_put(minted.key)
        if _written(file, minted.text, ids.token(8)):
            return minted.text
        identities.key_revoke(org.org, minted.key.key_id, clock.now_ms())
    finally:
        identities.close()
    return read_key(file)


def _written(file: Path, key: str, suffix: str) -> bool:
    """Writes the file unless there is one; whether it did."""
    partial = file.with_name(f"{file.name}.{suffix}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(key + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        with contextlib.suppress(FileExistsError):
            # A link, since a rename would take the place of another's.
            os.link(partial, file)
            return True
        return False
    finally:
        partial.unlink()
