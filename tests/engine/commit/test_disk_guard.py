"""Below the disk guard keys can be revoked; that is no sign that writes are taken, or that anybody is heard, again."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from tests.support.factories import draft
from tests.support.rig import Rig
from tests.support.wait import wait_until_async
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


async def test_what_waits_when_the_room_becomes_little_is_refused_and_keys_are_revoked(rig: Rig) -> None:
    key_id = (await rig.do(CreateKey("a key", (Scope.INGEST,)))).key.key_id
    async with rig.store.begin():
        first = asyncio.ensure_future(rig.do(CreateKey("another", (Scope.INGEST,))))
        await wait_until_async(lambda: rig.engine._serving._acts, "the writer to wait for its place")
        waiting = asyncio.gather(
            *[rig.do(one) for one in (Append("steps", [draft()]), RevokeKey(key_id), Append("steps", [draft()]))],
            return_exceptions=True,
        )
        await wait_until_async(lambda: rig.engine._writer.intake.queue.count == 3, "all of them to wait")
        rig.store.space._guard_mib = MORE_THAN_ANY_DISK_MIB
        rig.store.space.forget()
        assert rig.store.space.is_low()
    await first
    ended = await waiting
    assert [isinstance(one, DiskFull) for one in ended] == [True, False, True]
