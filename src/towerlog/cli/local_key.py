"""Makes the key of the local data folder, as `towerlog keys create` would. Opens the store; reading a key does not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from towerlog.ambient import SystemClock, SystemIds
from towerlog.config import Settings
from towerlog.engine.bootstrap import DEFAULT_ORG
from towerlog.engine.commands.keys import mint_key
from towerlog.errors import NotFound
from towerlog.model.principal import Scope
from towerlog.server import open_identities

OWNER_ONLY = 0o600


async def make_key(settings: Settings, file: Path, name: str, scopes: tuple[str, ...]) -> str | None:
    """Mints a key and writes its file whole or not at all. None where another process has written the file meanwhile.

    Raises what opening the store raises, NotFound where there is no default organisation.
    """
    clock = SystemClock()
    ids = SystemIds(clock)
    identities, _ = await open_identities(settings, clock, ids)
    try:
        org = next((org for org in await identities.orgs() if org.name == DEFAULT_ORG), None)
        if org is None:
            raise NotFound("organisation", f"There is no organisation {DEFAULT_ORG!r}: set TOWERLOG_API_KEY.")
        user = identities.first_user(org.org)
        minted = mint_key(clock, ids, org.org, user.user_id, name, tuple(Scope(scope) for scope in scopes))
        identities.key_put(minted.key)
        if _written(file, minted.text, ids.token(8)):
            return minted.text
        identities.key_revoke(org.org, minted.key.key_id, clock.now_ms())
    finally:
        identities.close()
    return None


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
            # A link, since a rename would replace another process's file.
            os.link(partial, file)
            return True
        return False
    finally:
        partial.unlink()
