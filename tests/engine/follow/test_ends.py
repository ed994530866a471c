"""What a style says before the first event of a run and after its last one."""

from __future__ import annotations

import pytest

from tests.engine.follow.following import E, append, read, style
from tests.support.rig import Rig
from towerlog.model.event import Event
from towerlog.model.question import FollowRun
from towerlog.model.run import RunRow


def begin(row: RunRow) -> bytes:
    return b"<%d " % row.last_seq


def end(row: RunRow, event: Event | None) -> bytes:
    return b"%d>" % (0 if event is None else event.seq)


STYLE = style("both", begin=begin, end=end, with_end=True)


async def whole(rig: Rig, run_id: str, **fields: object) -> list[bytes]:
    """All chunks of a run's stream."""
    follower = await rig.engine.follow(rig.principal, FollowRun(run_id, **fields), STYLE)  # type: ignore[arg-type]
    found = []
    while (chunk := await read(follower)) is not None:
        found.append(chunk)
    follower.close()
    return found


async def test_the_beginning_comes_first_and_the_end_knows_the_event_that_it_is_of(rig: Rig) -> None:
    run_id = await append(rig, 2)
    await append(rig, 1, E.RUN_COMPLETED)
    await append(rig, 1)  # late
    assert await whole(rig, run_id) == [b"<4 ", b"1 2 3 4 ", b"3>"]
    assert await whole(rig, run_id, after_seq=4) == [b"<4 ", b"3>"]


async def test_a_live_run_ends_the_same_way(rig: Rig) -> None:
    run_id = await append(rig, 1)
    follower = await rig.engine.follow(rig.principal, FollowRun(run_id), STYLE)
    assert [await read(follower), await read(follower)] == [b"<1 ", b"1 "]
    await append(rig, 1, E.RUN_COMPLETED)
    assert [await read(follower), await read(follower), await read(follower)] == [b"2 ", b"2>", None]
    follower.close()


async def test_an_end_that_was_put_back_is_read_again(rig: Rig) -> None:
    run_id = await append(rig, 1, E.RUN_COMPLETED)
    follower = await rig.engine.follow(rig.principal, FollowRun(run_id), STYLE)
    assert [await read(follower), await read(follower), await read(follower)] == [b"<1 ", b"1 ", b"1>"]
    follower.put_back()
    assert [await read(follower), await read(follower)] == [b"1>", None]
    follower.close()


async def test_an_end_that_cannot_be_read_is_told_without_its_event(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await append(rig, 1, E.RUN_COMPLETED)

    async def nothing(*_: object) -> dict[int, Event]:
        return {}

    monkeypatch.setattr(rig.store, "events_at", nothing)
    assert (await whole(rig, run_id))[-1] == b"0>"
