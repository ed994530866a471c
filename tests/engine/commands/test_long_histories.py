"""Long histories: stored in blocks before their event, exact when read back, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import Phase, given, settings

from tests.engine.ingest.test_content import check_turns, content_of, continued, latest, state, turns
from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.commands import long_histories
from towerlog.engine.commands.long_histories import MAX_BYTES_AT_ONCE, MAX_LOOKED_UP, MAX_MESSAGES_BESIDE, is_long
from towerlog.engine.verify import verify_org
from towerlog.errors import LeaseLost, Overloaded
from towerlog.model.command import Append, ClaimRun, CreateRun, Report
from towerlog.model.event import EventType, History, HistoryBase, Refusal, RunById
from towerlog.model.names import Names, prefix_names
from towerlog.model.outcome import Stored
from towerlog.model.texts import Texts
from towerlog.store.content import HistoryNode

COUNT = MAX_LOOKED_UP + 700
MESSAGES = [b'{"n":%d,"of":"a long history"}' % number for number in range(COUNT)]
METAS = [b'{"at":%d}' % number for number in range(COUNT)]


async def nodes_of(rig: Rig) -> list[HistoryNode]:
    """All nodes that are stored."""
    return [node for _, node in await rig.store.content(rig.org, "nodes", 0, 100_000)]  # type: ignore[misc]


async def test_a_long_history_is_a_few_rows_and_read_back_byte_for_byte(rig: Rig) -> None:
    (result,) = await rig.append(state(0, MESSAGES, METAS))
    assert isinstance(result, Stored)
    view = await latest(rig)
    assert (view.history, view.history_meta, view.row.length) == (MESSAGES, METAS, COUNT)
    assert await content_of(rig) == (0, 1)
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


async def test_a_block_is_cut_where_it_has_enough_bytes(rig: Rig) -> None:
    messages = [json.dumps("x" * (MAX_BYTES_AT_ONCE // 3)).encode()] * 7 + [
        json.dumps("y" * MAX_BYTES_AT_ONCE).encode()
    ]
    await rig.append(state(0, messages))
    assert [node.length for node in await nodes_of(rig)] == [2, 4, 6, 7, 8]
    assert (await latest(rig)).history == messages


async def test_the_next_turn_adds_what_is_new(rig: Rig) -> None:
    await rig.append(state(0, MESSAGES, METAS))
    rig.engine.forget()
    for step in (1, 2, 2):
        more = [b'"new %d"' % number for number in range(2 * step)]
        await rig.append(state(step, MESSAGES + more, METAS + more))
        assert (await latest(rig)).history == MESSAGES + more
    assert [node.length for node in await nodes_of(rig)] == [COUNT, COUNT + 2, COUNT + 4]
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_conversation_that_has_become_long_goes_on_from_what_is_stored_singly(rig: Rig) -> None:
    short = MESSAGES[: MAX_MESSAGES_BESIDE - 12]
    await rig.append(state(0, short))
    singly = await content_of(rig)
    await rig.append(state(1, MESSAGES[: MAX_MESSAGES_BESIDE + 3]))
    assert await content_of(rig) == (singly[0], singly[1] + 1)
    await rig.append(state(2, short[:100]))
    assert (await latest(rig)).history == short[:100]
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_long_beginning_that_is_shared_is_stored_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the rest is longer than what is looked up singly: a block is found by its end."""
    monkeypatch.setattr(long_histories, "MAX_BYTES_AT_ONCE", 4000)
    await rig.append(state(0, MESSAGES))
    first = {node.key for node in await nodes_of(rig)}
    other = MESSAGES[:600] + [b'"other"'] * COUNT
    await rig.append(state(1, other))
    begins = [node for node in await nodes_of(rig) if node.parent == b""]
    goes_on = [node for node in await nodes_of(rig) if node.key not in first and node.parent in first]
    assert (len(begins), len(goes_on)) == (1, 1)
    assert (await latest(rig)).history == other


async def test_the_end_of_a_block_is_a_base_and_its_middle_is_none(rig: Rig) -> None:
    await rig.append(state(0, MESSAGES))
    tail = [b'"tail %d"' % number for number in range(MAX_MESSAGES_BESIDE + 1)]
    middle, end, short = await rig.append(
        continued(1, tail, MESSAGES[:1000]), continued(2, tail, MESSAGES), continued(3, [b"1"], MESSAGES + tail)
    )
    assert isinstance(middle, Refusal)
    assert (middle.code, middle.field) == ("unknown_base", "data.base")
    assert isinstance(end, Stored)
    assert isinstance(short, Stored)
    assert (await latest(rig)).history == [*MESSAGES, *tail, b"1"]
    (wrong,) = await rig.append(continued(4, tail, MESSAGES, COUNT + 1))
    assert isinstance(wrong, Refusal)


async def test_a_base_that_comes_after_the_long_history_refuses_that_alone(rig: Rig) -> None:
    """Sent again as a whole, the other items of its request would be stored twice."""
    base, tail = [b'"a"', b'"b"'], MESSAGES[: MAX_MESSAGES_BESIDE + 1]
    step = draft(EventType.STEP, traced("x", "t"), {"n": 1})
    told = await rig.engine.stored_first(rig.principal, Append("checkpoints", [step, continued(1, tail, base)]))
    await rig.append(state(0, base))
    stored, refused = (await rig.engine._writer.intake.submit(rig.principal, told, "", None)).results
    assert isinstance(stored, Stored)
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.field) == ("unknown_base", "data.base")
    (again,) = await rig.append(continued(1, tail, base))
    assert isinstance(again, Stored)
    assert (await latest(rig)).history == [*base, *tail]
    assert [event.type for event in await rig.log()].count(EventType.STEP) == 1


async def test_a_lease_that_comes_after_the_long_history_refuses_all_before_anything_is_stored(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t", agent="a"))).run_id
    step = draft(EventType.STEP, RunById(run_id), {"n": 1})
    told = msgspec.structs.replace(state(0, MESSAGES), run=step.run)
    report = Report(run_id, "w", [step, told], dialect="lanes", lease_ms=90_000)
    early = await rig.engine.stored_first(rig.principal, report)
    await rig.do(ClaimRun(run_id, "w", 60_000))
    before = await rig.log(), await rig.store.lane(rig.org, (await rig.run(run_id)).run)
    with pytest.raises(Overloaded):
        await rig.engine._writer.intake.submit(rig.principal, early, "", None)
    assert (await rig.log(), await rig.store.lane(rig.org, (await rig.run(run_id)).run)) == before
    results = (await rig.do(report)).results
    assert [type(one) for one in results] == [Stored, Stored]
    assert (await latest(rig)).history == MESSAGES


async def test_of_one_request_a_later_history_goes_on_from_an_earlier_one(rig: Rig) -> None:
    tail = [b'"tail"'] * 3
    results = await rig.append(state(0, MESSAGES), state(1, [*MESSAGES, b"1"]), continued(2, tail, [*MESSAGES, b"1"]))
    assert all(isinstance(one, Stored) for one in results)
    assert [node.length for node in await nodes_of(rig)] == [COUNT, COUNT + 1, COUNT + 4]
    assert (await latest(rig)).history == [*MESSAGES, b"1", *tail]


@pytest.mark.parametrize("before", [0, 7])
def test_what_a_request_has_added_is_found_without_going_through_a_history(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the event loop, where fifty thousand names would take a tenth of a second, for each history of a request."""
    looked: list[int] = []
    get = Names._at

    def counted(names: Names, index: int) -> bytes:
        looked.append(index)
        return get(names, index)

    known = prefix_names([b"%d" % number for number in range(1000)])
    other = prefix_names([b"other %d" % number for number in range(1000)])
    names = Names(b"".join(known))
    monkeypatch.setattr(Names, "_at", counted)
    for lengths, longest in (((), 0), ((1,), 1), ((3, 700, 40), 700), ((1000,), 1000)):
        added = {known[length - 1]: before + length for length in lengths}
        added |= {other[at]: at + 1 for at in (0, 500, 999)} | {b"longer": before + 1001}
        looked.clear()
        assert long_histories._longest_of(names, before, added) == longest
        assert len(looked) <= len(added)


async def test_others_are_served_between_its_parts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_histories, "MAX_BYTES_AT_ONCE", 1000)
    slow = asyncio.create_task(rig.append(state(0, MESSAGES)))
    served = 0
    while not slow.done():
        await rig.append(draft(EventType.STEP, traced("other", "other"), {"n": served}))
        served += 1
    (stored,) = await slow
    assert isinstance(stored, Stored)
    assert served > 20
    assert stored.position > 20, "each of them was stored before the event was"


async def test_the_same_checkpoint_again_is_a_duplicate(rig: Rig) -> None:
    await rig.append(state(0, MESSAGES, METAS))
    (again,) = await rig.append(state(0, MESSAGES, METAS))
    assert isinstance(again, Stored)
    assert again.duplicate


@pytest.mark.parametrize("holds", [True, False])
async def test_of_a_worker_without_the_lease_nothing_is_stored_but_in_quarantine(rig: Rig, holds: bool) -> None:
    run_id = (await rig.do(CreateRun("t", agent="a"))).run_id
    await rig.do(ClaimRun(run_id, "w", 60_000))
    told = msgspec.structs.replace(state(0, MESSAGES), run=draft(EventType.STEP, traced("x", "t"), {}).run)
    report = Report(run_id, "w" if holds else "other", [told], lease_epoch=1, dialect="lanes")
    if holds:
        await rig.do(report)
        assert len(await nodes_of(rig)) == 1
        return
    with pytest.raises(LeaseLost):
        await rig.do(report)
    assert await nodes_of(rig) == []
    run = (await rig.run(run_id)).run
    [(_, kept)] = await rig.store.quarantined(rig.org, run, 10, 0)
    assert MESSAGES[-1] in kept.data


def test_whatever_the_turns_are_each_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for short histories, but that nearly all are long, and blocks have a few messages."""
    for name, value in {
        "MAX_MESSAGES_BESIDE": 3,
        "MAX_BYTES_AT_ONCE": 12,
        "MAX_LOOKED_UP": 2,
        "LOOKED_UP_AT_ONCE": 1,
        "NAMED_ON_LOOP": 2,
    }.items():
        monkeypatch.setattr(long_histories, name, value)
    with asyncio.Runner() as runner:
        opened = open_rig(tmp_path)
        rig = runner.run(opened.__aenter__())
        threads = 0

        @settings(max_examples=40, phases=[Phase.explicit, Phase.generate])
        @given(turns, turns)
        def holds(told: list[list[tuple[bytes, bytes]]], more: list[list[tuple[bytes, bytes]]]) -> None:
            nonlocal threads
            for together, forget, some in ((True, False, told), (False, True, more)):
                threads += 1
                runner.run(check_turns(rig, f"t{threads}", some, together, forget))

        try:
            holds()
            assert runner.run(verify_org(rig.store, rig.org)) == 0
        finally:
            runner.run(opened.__aexit__(None, None, None))


def test_what_is_long_is_told_by_all_histories_of_a_request() -> None:
    def command(*lengths: int, text: bytes = b"1") -> Append:
        return Append("checkpoints", [state(step, [text] * length) for step, length in enumerate(lengths)])

    assert not is_long(command(MAX_MESSAGES_BESIDE))
    assert is_long(command(MAX_MESSAGES_BESIDE, 1))
    assert is_long(command(1, text=b"x" * (MAX_BYTES_AT_ONCE + 1)))
    assert not is_long(Append("steps", [Refusal("c", "m")]))
    base = History(Texts(b"[1,2]"), Texts(b"[%b0]" % (b"1," * MAX_MESSAGES_BESIDE)), HistoryBase(b"n", 1))
    assert is_long(Append("checkpoints", [msgspec.structs.replace(state(0, []), history=base)]))
