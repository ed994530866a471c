"""What a URL may ask of the server that it leads to."""

from __future__ import annotations

import pytest

from tests.support.backends import PostgresBackend
from tests.support.fakes import FakeClock, SeededIds
from towerlog.config import BadSetting
from towerlog.storage import check_extra
from towerlog.store.postgres.store import open_store


@pytest.mark.parametrize("asked", ["any", "primary", "read-write"])
async def test_a_server_that_takes_writes_may_be_asked_for(backend: PostgresBackend, asked: str) -> None:
    url = f"{backend.location}&target_session_attrs={asked}"
    check_extra(url)
    store = await open_store(url, FakeClock(), SeededIds())
    await store.ping()
    await store.close()


@pytest.mark.parametrize("asked", ["standby", "prefer-standby", "read-only", "nonsense"])
def test_any_other_is_refused_with_what_to_write(asked: str) -> None:
    with pytest.raises(BadSetting, match=f"={asked} does not .* write target_session_attrs=read-write"):
        check_extra(f"postgresql://towerlog@db/towerlog?target_session_attrs={asked}")
