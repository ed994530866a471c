"""The one fixture of the contract: `store`, over every backend. No test asks which one it got."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.backends import FRESH, Backend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from towerlog.store.base import Store


@pytest.fixture(params=sorted(FRESH))
def backend_name(request: pytest.FixtureRequest) -> str:
    """Which backend."""
    return str(request.param)


@pytest.fixture
def backend(backend_name: str, tmp_path: Path) -> Backend:
    """A database of this test's own, not opened yet."""
    return FRESH[backend_name](tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    """Time that the test moves."""
    return FakeClock()


@pytest.fixture
def ids() -> SeededIds:
    """Ids that are the same in every run."""
    return SeededIds()


@pytest.fixture
async def store(backend: Backend, clock: FakeClock, ids: SeededIds) -> AsyncIterator[Store]:
    """The database, opened."""
    opened = await backend.make().open(clock, ids)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def org(store: Store) -> int:
    """An organisation."""
    return (await store.org_create(*identity(1, name="ours"))).org


@pytest.fixture
async def other(store: Store, org: int) -> int:
    """Another one."""
    return (await store.org_create(*identity(2, name="theirs"))).org
