"""A store on PostgreSQL is checked where it is, while its servers write: what they remove meanwhile is not damaged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import PostgresBackend
from tests.support.postgres import cluster
from tests.support.rig import Rig, open_rig
from towerlog.cli.findings import Findings
from towerlog.cli.maintenance import verify_store
from towerlog.engine.audit import chain
from towerlog.engine.audit.outside import organisation_removed
from towerlog.engine.audit.settings import read_settings
from towerlog.engine.erasure.removal import removed_now
from towerlog.model.audit import SERVER
from towerlog.model.principal import Org


@pytest.fixture
async def rig(backend: PostgresBackend, tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine on the database, with its organisation."""
    async with open_rig(tmp_path, backend=backend) as opened:
        yield opened


@pytest.fixture
async def leaving(rig: Rig) -> Org:
    """An organisation that goes."""
    made = await rig.make_org("leaving")
    return next(one for one in await rig.store.orgs() if one.org == made.org)


async def found_in(rig: Rig) -> list[str]:
    findings = Findings()
    await verify_store(rig.store, findings)
    assert findings.count == len(findings.shown)
    return findings.shown


def removing_once(rig: Rig, org: Org) -> Callable[[], Awaitable[None]]:
    """Removes it, where it is there still."""

    async def remove() -> None:
        if org.org in {one.org for one in await rig.store.orgs()}:
            removed = removed_now(org, await rig.store.org_holds(org.org), rig.clock.now_ms())
            await rig.store.org_remove(removed, [organisation_removed(SERVER, rig.org, removed)])

    return remove


async def test_what_goes_with_an_organisation_that_is_removed_meanwhile_is_no_difference(
    rig: Rig, leaving: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, met = removing_once(rig, leaving), []

    async def reading(store: Any, report: Any, org: Org, tellings: Any) -> Any:
        if org.org == leaving.org:
            met.append(org)
            await remove()
        return await read_settings(store, report, org, tellings)

    monkeypatch.setattr(chain, "read_settings", reading)
    assert await found_in(rig) == []
    assert met
    monkeypatch.undo()
    assert await found_in(rig) == []


async def test_an_organisation_that_goes_after_it_was_listed_is_no_lost_removal(
    rig: Rig, leaving: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, listed = removing_once(rig, leaving), rig.store.orgs
    calls: list[int] = []

    async def listing() -> list[Org]:
        found = await listed()
        calls.append(len(found))
        if len(calls) == 2:  # the first is of `verify` itself
            monkeypatch.undo()
            await remove()
        return found

    monkeypatch.setattr(rig.store, "orgs", listing)
    assert await found_in(rig) == []
    assert calls == [2, 2]


async def test_what_differs_in_one_that_stays_is_told(rig: Rig, leaving: Org, backend: PostgresBackend) -> None:
    cluster().sql(
        f"UPDATE org SET name = 'forged' WHERE org = {leaving.org}",
        backend.location.partition("?")[0].rpartition("/")[2],
    )
    assert any("differs from audit entry" in one for one in await found_in(rig))
