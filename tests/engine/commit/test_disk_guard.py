"""Below the disk guard keys can be revoked; that is no sign that writes are taken, or that anybody is heard, again."""

from __future__ import annotations

import pytest
import structlog

from tests.support.factories import draft
from tests.support.rig import Rig
from towerlog.errors import DiskFull
from towerlog.model.command import Append, CreateKey, RevokeKey
from towerlog.model.principal import Scope
from towerlog.store.space import LOOK_EACH_MS

MORE_THAN_ANY_DISK_MIB = 1 << 40


async def look_again(rig: Rig, guard_mib: int) -> None:
    """The engine's next turn of upkeep, with another guard."""
    rig.store.space._guard_mib = guard_mib
    rig.clock.advance(LOOK_EACH_MS)
    await rig.engine.sweep()


async def test_a_key_that_is_revoked_below_the_guard_ends_no_outage(rig: Rig) -> None:
    keys = [(await rig.do(CreateKey(f"key {number}", (Scope.INGEST,)))).key.key_id for number in range(2)]
    serving, trouble = rig.engine._serving, rig.store.trouble
    with structlog.testing.capture_logs() as told:
        await look_again(rig, MORE_THAN_ANY_DISK_MIB)
        heard = serving.now().serving_ms
        for key_id in keys:
            await rig.do(RevokeKey(key_id))
            assert (serving.is_out, rig.store.obstacle()) == (True, "disk_full")
            assert trouble.refused is not None
            with pytest.raises(DiskFull):
                await rig.do(Append("steps", [draft()]))
            await look_again(rig, MORE_THAN_ANY_DISK_MIB)
        assert serving.now().serving_ms == heard, "nobody could be heard"
        assert [one["event"] for one in told] == ["writes are refused until one succeeds; one is tried each second"]
        await look_again(rig, 0)
        assert (serving.is_out, rig.store.obstacle()) == (False, None)
        assert trouble.refused is None
    assert [one["event"] for one in told][1:] == ["writes are taken again"]
    assert (await rig.append(draft()))[0]
