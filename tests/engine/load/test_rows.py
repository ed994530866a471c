"""Loading: what a group needs in a turn or two, each thing once; the usual commands need nothing beside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.plan.planning import Counted, plan_on
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.commit import writer
from towerlog.engine.ingest.needs import needs_of_items
from towerlog.engine.load import rows as loading
from towerlog.engine.load.cache import Cache
from towerlog.engine.load.misses import NotLoaded
from towerlog.engine.load.rows import Needs
from towerlog.engine.verify import verify_org
from towerlog.errors import TowerlogError
from towerlog.model import command as c
from towerlog.model.event import Draft, EventType, History, OpenRun, RunByForeignId, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.principal import Scope
from towerlog.store.values import Kind

E = EventType
LEASE_MS = 60_000


def drafts() -> list[Draft]:
    """Known and unknown runs and agents, by every kind of reference, with and without ids."""
    return [
        draft(run=traced("x", "t"), agent="a", event_id="1"),
        draft(run=traced("x", "t"), agent="a", event_id="2"),
        draft(run=traced("new", "t"), agent="b", event_id="1"),
        draft(run=traced("new", "t"), agent="b"),
        draft(run=RunByForeignId("steps:f", "u"), agent="a"),
        draft(run=RunByForeignId("steps:g", "u"), event_id="3"),
        draft(run=OpenRun("t")),
        draft(run=RunById("nothing")),
    ]


async def test_a_group_costs_two_turns(rig: Rig) -> None:
    await rig.append(draft(run=traced("x", "t"), agent="a", event_id="1"), draft(run=RunByForeignId("steps:f", "u")))
    async with rig.store.begin() as unit:
        counted = Counted(unit)
        command = c.Append("steps", drafts() * 20)
        plan = await plan_on(rig, counted, lambda needs: needs_of_items(needs, rig.principal, command))
        assert [list(load) for load in counted.loads] == [
            ["agent", "ref", "thread"],
            ["event_id"],
        ], "first what has a name, then what has a number"
        known = plan.run(rig.org, traced("x", "t"))
        assert known is not None
        assert plan.run(rig.org, RunByForeignId("steps:f", "elsewhere")) is not None
        assert plan.run(rig.org, traced("new", "t")) is None
        assert plan.agent(rig.org, "a").name == "a"
        assert plan.event_by_id(known.run, "1") is not None
        assert plan.event_by_id(known.run, "2") is None


async def test_nothing_is_asked_for_what_is_cached(rig: Rig) -> None:
    await rig.append(*drafts())
    items = [draft(run=traced("x", "t"), agent="a", event_id="1"), draft(run=OpenRun("t"))]
    async with rig.store.begin() as unit:
        counted = Counted(unit)
        command = c.Append("steps", items[1:])
        ask = lambda needs: needs_of_items(needs, rig.principal, command)  # noqa: E731
        await plan_on(rig, counted, ask, rig.engine._writer._cache)
        assert counted.loads == []


async def test_whoever_wants_what_first_kinds_and_keys_are_asked_for_in_one_order(rig: Rig) -> None:
    asked: list[list[Any]] = []
    async with rig.store.begin() as unit:

        class Noted:
            async def load(self, wanted: Any, now_ms: int) -> Any:
                asked.append([*wanted.items()])
                return await unit.load(wanted, now_ms)

        def agents_first(needs: Needs) -> None:
            for name in "hbxa":
                needs.agent(rig.org, name)
            for run in (9, 3, 7):
                needs.lane(run)

        def lanes_first(needs: Needs) -> None:
            for run in (7, 9, 3):
                needs.lane(run)
            for name in "xahb":
                needs.agent(rig.org, name)

        await plan_on(rig, Noted(), agents_first)
        await plan_on(rig, Noted(), lanes_first)
        missed = [NotLoaded(Kind.LANE, run) for run in (7, 9, 3)]
        missed += [NotLoaded(Kind.AGENT, (rig.org, name)) for name in "xahb"]
        noted: Any = Noted()
        await loading.load_missed(noted, loading.Known(Cache()), 0, missed, rig.engine._writer._in_steps)
    assert asked[0] == [(Kind.AGENT, [(rig.org, name) for name in "abhx"]), (Kind.LANE, [3, 7, 9])]
    assert asked == asked[:1] * 3


async def test_what_was_not_loaded_is_said_and_not_looked_up(rig: Rig) -> None:
    async with rig.store.begin() as unit:
        plan = await plan_on(rig, unit)
        questions: list[Any] = [
            (Kind.REF, lambda: plan.run(rig.org, traced("x"))),
            (Kind.RUN, lambda: plan.run_by_number(7)),
            (Kind.THREAD, lambda: plan.thread(rig.org, "t")),
            (Kind.AGENT, lambda: plan.agent(rig.org, "a")),
            (Kind.LANE, lambda: plan.lane(7)),
            (Kind.EVENT_ID, lambda: plan.event_by_id(7, "id")),
            (Kind.CHECKPOINT, lambda: plan.checkpoint(7, "a", 1)),
            (Kind.COUNTERS, lambda: plan.counters(rig.org)),
            (Kind.REPLY, lambda: plan.loaded(Kind.REPLY, (rig.org, "x"))),
        ]
        for kind, question in questions:
            with pytest.raises(NotLoaded) as missing:
                question()
            assert missing.value.kind is kind


@pytest.mark.parametrize("forget", [False, True])
async def test_where_nothing_says_what_it_needs_the_same_is_stored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, forget: bool
) -> None:
    """The safety net: what is missed is loaded, and the group placed anew."""

    async def nothing(*_: object) -> int:
        return 0

    async def places(who: Any) -> list[Any]:
        results = []
        for _ in range(3):
            if forget:
                rig.engine.forget()
            done = await rig.do(c.Append("steps", list(drafts())), principal=who)
            results += [
                (type(one).__name__, getattr(one, "seq", 0), getattr(one, "duplicate", None)) for one in done.results
            ]
        assert await verify_org(rig.store, who.org) == 0
        return results

    expected = await places(rig.principal)
    assert rig.engine.figures()["reloads"] == 0
    monkeypatch.setattr(writer, "load", nothing)
    assert await places(await rig.make_org("other")) == expected
    assert rig.engine.figures()["reloads"] > 0


async def test_a_group_that_never_comes_to_an_end_fails(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        """Loads nothing, whatever is asked for."""

    monkeypatch.setattr(writer, "load", nothing)
    monkeypatch.setattr(writer, "load_missed", nothing)
    with pytest.raises(TowerlogError):
        await rig.append(draft())
    assert await rig.log() == []


async def test_a_group_that_is_long_in_the_making_is_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commit is quick, and the event loop goes on meanwhile: nothing else shows it."""
    load = writer.load

    async def long(*asked: Any) -> int:
        rig.clock.advance(2500)
        return await load(*asked)

    await rig.append(draft())
    assert (rig.engine.figures()["long_writes"], rig.engine.figures()["longest_write_ms"]) == (0, 0)
    monkeypatch.setattr(writer, "load", long)
    await rig.append(draft())
    assert (rig.engine.figures()["long_writes"], rig.engine.figures()["longest_write_ms"]) == (1, 2500)


def checkpoint(run_id: str, step: int, **fields: Any) -> Draft:
    """A checkpoint with a history."""
    messages = [b'{"n":%d}' % n for n in range(step + 1)]
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(step, "in_progress", length=len(messages))))
    return Draft(E.CHECKPOINT, RunById(run_id), b"{}", facts, history=History(messages, messages), **fields)


@pytest.mark.parametrize("forget", [False, True])
async def test_the_usual_commands_are_loaded_whole(rig: Rig, forget: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is placed twice, with everything in the cache and with nothing; and none takes long to load."""
    turns: list[int] = []
    real = loading.load

    async def counted(*arguments: Any) -> int:
        turns.append(await real(*arguments))
        return turns[-1]

    monkeypatch.setattr(writer, "load", counted)

    async def do(command: Any) -> Any:
        if forget:
            rig.engine.forget()
        done = await rig.do(command)
        assert rig.engine.figures()["reloads"] == 0, command
        return done

    await do(CreatePersona("p", "1", "b"))
    await do(CreateRoute("r", "openai", "m"))
    await do(c.CreateThread("t", policy="cancel_previous"))
    await do(c.RegisterAgent("a"))
    first = (await do(c.CreateRun("t", persona_id="p@1", route_id="r", input=b'"go"'))).run_id
    run_id = (await do(c.CreateRun("below", agent="a", parent_run_id=first, input=b'"go"'))).run_id
    await do(c.Claim("w", LEASE_MS, agents=("a",)))
    for command in (
        c.Report(run_id, "w", [draft(run=RunById(run_id), event_id="1"), checkpoint(run_id, 1)], phase="p"),
        c.Report(run_id, "w", [checkpoint(run_id, 1), checkpoint(run_id, 2), draft(E.RUN_WAITING, RunById(run_id))]),
        c.GiveInput(run_id, "yes"),
        c.SteerRun(run_id, "pause"),
        c.Report(run_id, "w", []),
        c.Release(run_id, "w"),
        c.ClaimRun(run_id, "v", LEASE_MS),
        c.CancelRun(run_id),
        c.Finish(run_id, "v", draft(E.RUN_COMPLETED, RunById(run_id))),
        c.RetryRun(run_id),
        c.ForkRun(run_id, 1),
    ):
        await do(command)
    told = (await do(c.Append("steps", [draft(E.RUN_STARTED, traced("x", "u"), natural_key="s")]))).results[0].run_id
    items = [
        draft(E.TOOL_CALL, RunById(told), event_id="2"),
        draft(E.RUN_COMPLETED, RunById(told), natural_key="end"),
        draft(run=OpenRun("u"), event_id="3"),
    ]
    await do(c.Append("steps", items, polled=(RunByForeignId("steps:none", ""),)))
    await do(c.Append("steps", items))
    asks = draft(E.CHECKPOINT, traced("y", "v"), facts=Facts(effects=Effects(checkpoint=CheckpointFacts(1, WAITS))))
    other = (await do(c.Append("checkpoints", [asks]))).results[0].run_id
    await do(c.Decide("y", 1, "approved"))
    await do(c.KillRun(other))
    minted = await do(c.CreateKey("k", (Scope.READ,)))
    await do(c.RevokeKey(minted.key.key_id))
    await rig.engine.sweep()
    assert rig.engine.figures()["reloads"] == 0
    assert await verify_org(rig.store, rig.org) == 0
    # More than two where one thing leads to the next: a thread to the runs that give way, they to their descendants.
    assert max(turns) <= 4
    assert sum(turn > 2 for turn in turns) <= len(turns) // 5, turns


WAITS = "waiting_for_approval"


async def test_claims_of_one_group_are_loaded_together(rig: Rig) -> None:
    for number in range(5):
        await rig.do(c.CreateRun(f"t{number}", labels={"gpu": "yes"} if number % 2 else {}))
    claims = [c.Claim(f"w{n}", LEASE_MS, labels={"gpu": "yes"} if n % 2 else {}) for n in range(6)]
    done = await asyncio.gather(*(rig.do(claim) for claim in claims))
    assert [type(one).__name__ for one in done].count("Claimed") == 5
    assert rig.engine.figures()["reloads"] == 0
    assert len({one.view.row.run_id for one in done if hasattr(one, "view")}) == 5


async def test_a_claim_goes_on_where_all_that_was_offered_is_gone(rig: Rig) -> None:
    """Cancels in the same group take what the claim was offered."""
    runs = [(await rig.do(c.CreateRun(f"t{number}"))).run_id for number in range(5)]
    commands = [*(c.CancelRun(run_id) for run_id in runs[:4]), c.Claim("w", LEASE_MS)]
    *_, claimed = await asyncio.gather(*(rig.do(command) for command in commands))
    assert claimed.view.row.run_id == runs[4]
    assert rig.engine.figures()["reloads"] > 0
