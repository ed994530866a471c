"""What a long history relies on of the content of other runs, while these are erased."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.ingest.test_content import continued, state
from tests.support.backends import FRESH
from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.commit import lost_content
from towerlog.engine.verify import verify_org
from towerlog.errors import Overloaded
from towerlog.model.command import Append, ClaimRun, CreateRun, KillRun, Report
from towerlog.model.event import Draft, EventType, Refusal, RunById
from towerlog.model.outcome import Stored
from towerlog.model.question import GetCheckpoint
from towerlog.model.retention import EraseRun

OLD = [b'{"n":%d,"of":"what both have"}' % number for number in range(700)]
OLD_METAS = [b'{"at":%d}' % number for number in range(700)]
NEW = [b'{"n":%d,"of":"what is new"}' % number for number in range(600)]
NEW_METAS = [b'{"at":%d,"of":"new"}' % number for number in range(600)]
_replace = msgspec.structs.replace


@pytest.fixture(params=sorted(FRESH))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, backend=FRESH[request.param](tmp_path)) as opened:
        yield opened


async def ended(rig: Rig, thread: str, *states: Draft) -> str:
    """A run with these checkpoints, which has ended."""
    told = [_replace(one, run=traced("x", thread)) for one in states]
    stored = (await rig.append(*told))[0]
    assert isinstance(stored, Stored)
    await rig.do(KillRun(stored.run_id))
    return stored.run_id


def erased_after(rig: Rig, run_id: str, place: str, times: int = 1) -> list[str]:
    """Has a run erased once the store was asked for what it knows; what was erased by then is in the list."""
    ask: Callable[..., Awaitable[Any]] = getattr(rig.store, place)
    done: list[str] = []

    async def asked(*args: Any) -> Any:
        found = await ask(*args)
        if found and len(done) < times:
            done.append(run_id)
            await rig.do(EraseRun(run_id))
        return found

    setattr(rig.store, place, asked)
    return done


async def check(
    rig: Rig, result: Stored | Refusal, step: int, messages: list[bytes], metas: list[bytes] | None
) -> None:
    assert isinstance(result, Stored), result
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    view = await rig.do(GetCheckpoint(result.run_id, step))
    assert view.history == messages
    assert view.history_meta == metas


@pytest.mark.parametrize("place", ["known_nodes", "known_metas"])
async def test_what_is_erased_between_the_look_and_the_commit_is_stored_again(rig: Rig, place: str) -> None:
    first = await ended(rig, "old", state(0, OLD, OLD_METAS))
    done = erased_after(rig, first, place)
    [result] = await rig.append(state(1, OLD + NEW, OLD_METAS + NEW_METAS))
    assert done == [first]
    await check(rig, result, 1, OLD + NEW, OLD_METAS + NEW_METAS)


async def test_metas_are_stored_again_where_another_run_holds_the_messages(rig: Rig) -> None:
    await rig.append(_replace(state(0, OLD), run=traced("y", "holds")))
    first = await ended(rig, "old", state(0, OLD, OLD_METAS))
    done = erased_after(rig, first, "known_metas")
    [result] = await rig.append(state(1, OLD + NEW, OLD_METAS + NEW_METAS))
    assert done == [first]
    await check(rig, result, 1, OLD + NEW, OLD_METAS + NEW_METAS)


@pytest.mark.parametrize("metas", [OLD_METAS, None])
@pytest.mark.parametrize("more", [[], NEW])
async def test_what_is_erased_before_the_event_comes_is_stored_again(
    rig: Rig, more: list[bytes], metas: list[bytes] | None
) -> None:
    """The other items of its request are stored once, those before it and those behind it."""
    first = await ended(rig, "old", state(0, OLD, metas))
    steps = [draft(EventType.STEP, traced("x", "t"), {"n": number}) for number in range(2)]
    command = Append("checkpoints", [steps[0], state(1, OLD + more, metas), steps[1]])
    told = await rig.engine.stored_first(rig.principal, command)
    await rig.do(EraseRun(first))
    if more:  # nothing is erased that something goes on from, so this is held by its own end
        [second] = await rig.append(_replace(state(0, OLD + more, metas), run=traced("z", "second")))
        assert isinstance(second, Stored)
        await rig.do(KillRun(second.run_id))
        await rig.do(EraseRun(second.run_id))
    before, result, behind = (await rig.engine._writer.intake.submit(rig.principal, told, "", None)).results
    assert isinstance(before, Stored)
    assert isinstance(behind, Stored)
    await check(rig, result, 1, OLD + more, metas)
    assert [event.type for event in await rig.log()].count(EventType.STEP) == 2


async def test_metas_that_are_erased_before_the_event_comes_are_stored_again(rig: Rig) -> None:
    await rig.append(_replace(state(0, OLD), run=traced("y", "holds")))
    first = await ended(rig, "old", state(0, OLD, OLD_METAS))
    told = await rig.engine.stored_first(rig.principal, Append("checkpoints", [state(1, OLD, OLD_METAS)]))
    await rig.do(EraseRun(first))
    [result] = (await rig.engine._writer.intake.submit(rig.principal, told, "", None)).results
    await check(rig, result, 1, OLD, OLD_METAS)


async def test_a_base_that_is_erased_is_unknown_and_sent_whole_it_is_taken(rig: Rig) -> None:
    first = await ended(rig, "old", state(0, OLD))
    done = erased_after(rig, first, "known_length")
    [refused] = await rig.append(continued(1, NEW, OLD))
    assert done == [first]
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.field) == ("unknown_base", "data.base")
    [result] = await rig.append(state(1, OLD + NEW))
    await check(rig, result, 1, OLD + NEW, None)


async def test_a_workers_report_is_stored_again_as_well(rig: Rig) -> None:
    first = await ended(rig, "old", state(0, OLD, OLD_METAS))
    run_id = (await rig.do(CreateRun("t", agent="a"))).run_id
    taken = await rig.do(ClaimRun(run_id, "w", 60_000))
    done = erased_after(rig, first, "known_metas")
    told = _replace(state(1, OLD + NEW, OLD_METAS + NEW_METAS), run=RunById(run_id), agent="a")
    report = Report(run_id, "w", [told], dialect="lanes", lease_epoch=taken.lane.epoch)
    [result] = (await rig.do(report)).results
    assert done == [first]
    await check(rig, result, 1, OLD + NEW, OLD_METAS + NEW_METAS)


async def test_where_an_erasure_comes_between_again_and_again_the_sender_is_asked_to_come_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is answered in any case; what stood before it is stored."""
    monkeypatch.setattr(lost_content, "MAX_TIMES_STORED", 2)
    command = Append("checkpoints", [draft(EventType.STEP, traced("x", "t"), {"n": 1}), state(1, OLD)])
    told = await rig.engine.stored_first(rig.principal, command)

    async def never(_who: object, again: Append | Report) -> Append | Report:
        return again

    rig.engine._writer._lost._stored_again = never
    async with rig.store.begin() as unit:
        await unit.sweep_content(await rig.store.content_end())
    rig.engine.forget()
    with pytest.raises(Overloaded, match="being erased"):
        await rig.engine._writer.intake.submit(rig.principal, told, "", None)
    assert [event.type for event in await rig.log()].count(EventType.STEP) == 1
