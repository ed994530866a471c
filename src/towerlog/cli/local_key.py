"""Makes the key of the local data folder, as `towerlog keys create` would. Opens the store; reading a key does not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from towerlog.ambient import SystemClock, SystemIds
from towerlog.cli.account import operator
from towerlog.cli.key_file import write_key
from towerlog.config import Settings
from towerlog.engine.audit.outside import key_created, key_revoked
from towerlog.engine.bootstrap import DEFAULT_ORG
from towerlog.engine.commands.keys import mint_key
from towerlog.errors import NotFound
from towerlog.model.principal import Scope
from towerlog.storage import open_identities


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
        identities.key_put(minted.key, key_created(operator(), minted.key))
        if write_key(file, minted.text):
            return minted.text
        identities.key_revoke(org.org, minted.key.key_id, clock.now_ms(), partial(key_revoked, operator()))
    finally:
        identities.close()
    return None
