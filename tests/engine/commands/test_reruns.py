"""Retry and fork: the same again, linked; a fork's state is that of its checkpoint, whatever becomes of the other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.queries.test_replies import checkpoint
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.errors import Conflict, NotFound, ThreadBusy
from towerlog.model.command import CancelRun, Claim, CreateRun, CreateThread, Decide, Finish, ForkRun, Report, RetryRun
from towerlog.model.event import Draft, EventType, RunById
from towerlog.model.facts import Effects, Erases, Facts
from towerlog.model.lane import QueueState
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.question import GetCheckpoint, GetRun, ListApprovals, ListCheckpoints
from towerlog.model.retention import EraseRun, SetRetention
from towerlog.model.run import ForkedFrom, Status

E = EventType
LEASE_MS = 60_000


async def claim(rig: Rig, run_id: str, worker: str = "w", **fields: Any) -> Any:
    """The oldest run, which has to be this one."""
    claimed = await rig.do(Claim(worker, LEASE_MS, **fields))
    assert claimed.view.row.run_id == run_id
    return claimed


async def ended(rig: Rig, **fields: Any) -> str:
    """A run that a worker has failed."""
    run_id = str((await rig.do(CreateRun("t", **fields))).run_id)
    await claim(rig, run_id, labels={"gpu": "yes"})
    await rig.do(Finish(run_id, "w", draft(E.RUN_FAILED, RunById(run_id), {"error": "x"}, facts=Facts(error="x"))))
    return run_id


# Retry


async def test_a_retry_is_the_same_again_and_linked(rig: Rig) -> None:
    await rig.do(CreatePersona("writer", "1", "writer-agent"))
    await rig.do(CreateRoute("fast", "p", "m"))
    source = await ended(
        rig,
        persona_id="writer",
        route_id="fast",
        input=b'{"q": "\\u00fc", "n": 1.50}',
        metadata=b'{"k": 1.0}',
        labels={"gpu": "yes"},
    )
    await rig.do(CreatePersona("writer", "2", "writer-agent"))
    view = await rig.do(RetryRun(source))
    row, old = view.row, await rig.run(source)
    assert row == await rig.run(row.run_id)
    assert row.run_id != source
    assert (row.retry_of, row.resumed_from, row.forked_from, row.status) == (source, source, None, Status.QUEUED)
    same = ("thread_id", "persona_id", "route_id", "agent", "metadata", "created_by", "parent_key")
    assert {name: getattr(row, name) for name in same} == {name: getattr(old, name) for name in same}
    assert row.persona_id == "writer@1", "the version that the run had"
    assert row.trace_id != old.trace_id
    assert (view.lane.labels, view.lane.state) == ({"gpu": "yes"}, QueueState.QUEUED)
    assert view.agent_id is not None
    assert view.created_by_name == "admin"
    [first, again] = [(await rig.events(run_id))[0].data for run_id in (source, row.run_id)]
    assert again == first
    assert view.input == b'{"q": "\\u00fc", "n": 1.50}', "as its caller gave it"
    claimed = await claim(rig, row.run_id, labels={"gpu": "yes"}, agents=("writer-agent",))
    assert (claimed.input, claimed.checkpoint) == (b'{"q": "\\u00fc", "n": 1.50}', None)
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_retry_of_a_retry_names_the_one_before(rig: Rig) -> None:
    first = await ended(rig, agent="a")
    second = (await rig.do(RetryRun(first))).row.run_id
    await rig.do(CancelRun(second))
    third = (await rig.do(RetryRun(second))).row
    assert (third.retry_of, third.agent) == (second, "a")


async def test_a_retry_is_served_by_who_served_the_run_whatever_its_agent_called_itself(rig: Rig) -> None:
    source = str((await rig.do(CreateRun("t"))).run_id)
    await claim(rig, source)
    await rig.do(Report(source, "w", [draft(run=RunById(source), agent="itself")]))
    await rig.do(CancelRun(source))
    await rig.do(Finish(source, "w", draft(E.RUN_CANCELLED, RunById(source))))
    assert (await rig.run(source)).agent == "itself"
    again = (await rig.do(RetryRun(source))).row.run_id
    await claim(rig, again, agents=("default",))


async def test_only_what_has_ended_is_retried(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    for step in (None, Claim("w", LEASE_MS)):
        if step is not None:
            await rig.do(step)
        with pytest.raises(Conflict) as refused:
            await rig.do(RetryRun(run_id))
        assert "has not ended" in refused.value.message
    assert len({event.run for event in await rig.log()}) == 1
    with pytest.raises(NotFound):
        await rig.do(RetryRun("nothing"))


async def test_a_retry_keeps_to_the_threads_policy(rig: Rig) -> None:
    source = await ended(rig)
    await rig.do(CreateThread("t", policy="reject"))
    await rig.do(RetryRun(source))
    with pytest.raises(ThreadBusy):
        await rig.do(RetryRun(source))


async def test_a_run_that_only_reported_is_retried_by_its_agents_worker(rig: Rig) -> None:
    metadata = Facts(effects=Effects(metadata=msgspec.Raw(b'{"m":1}'), is_start=True))
    start = Draft(
        E.RUN_STARTED, traced("x", "told"), b'{"input": {"q": 1.50}, "labels": [7]}', metadata, agent="reporter"
    )
    [told, _] = await rig.append(draft(run=traced("x", "told")), start)
    await rig.append(draft(E.RUN_COMPLETED, traced("x", "told")))
    row = (await rig.do(RetryRun(told.run_id))).row
    assert (row.agent, row.thread_id, row.retry_of) == ("reporter", "told", told.run_id)
    assert bytes(row.metadata) == b'{"m":1}'
    claimed = await claim(rig, row.run_id, agents=("reporter",))
    assert claimed.input == b'{"q": 1.50}'


@pytest.mark.parametrize("data", [None, b"{}", b'{"input":null}'])
async def test_a_run_whose_input_nobody_told_cannot_be_retried(rig: Rig, data: bytes | None) -> None:
    [told] = await rig.append(draft(run=traced("x", "told")))
    if data is not None:
        await rig.append(Draft(E.RUN_STARTED, traced("x", "told"), data, Facts(effects=Effects(is_start=True))))
    await rig.append(draft(E.RUN_COMPLETED, traced("x", "told")))
    with pytest.raises(Conflict) as refused:
        await rig.do(RetryRun(told.run_id))
    assert "input of this run is not known" in refused.value.message


async def test_a_run_that_never_told_a_start_is_not_searched_for_one(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of any length, and the whole server would wait for the search."""
    [told, *_] = await rig.append(draft(run=traced("x")), draft(E.RUN_FAILED, traced("x"), facts=Facts(error="x")))
    searched: list[Any] = []
    events = rig.store.events
    monkeypatch.setattr(rig.store, "events", lambda *asked: searched.append(asked) or events(*asked))
    with pytest.raises(Conflict):
        await rig.do(RetryRun(told.run_id))
    assert searched == []


async def test_a_run_made_without_input_is_retried_without(rig: Rig) -> None:
    row = (await rig.do(RetryRun(await ended(rig)))).row
    assert (await claim(rig, row.run_id)).input is None


async def test_a_run_whose_beginning_was_trimmed_cannot_be_retried(rig: Rig) -> None:
    source = await ended(rig, input=b'"go"')
    await rig.store.run_trim(rig.org, (await rig.run(source)).run, 2)
    with pytest.raises(Conflict):
        await rig.do(RetryRun(source))


@pytest.mark.parametrize("has_input", [True, False])
@pytest.mark.parametrize("by", ["a person", "age"])
async def test_a_run_that_was_erased_is_retried_only_with_an_input(rig: Rig, by: str, has_input: bool) -> None:
    source = await ended(rig, **({"input": b'"go"'} if has_input else {}))
    if by == "a person":
        await rig.do(EraseRun(source))
    else:
        await rig.do(SetRetention(Erases.EVENTS, 86_400_000, None))
        rig.clock.advance(2 * 86_400_000)
        await rig.engine.services.retention.sweep()
    assert (await rig.run(source)).events_erased_at is not None
    with pytest.raises(Conflict, match="erased"):
        await rig.do(RetryRun(source))
    row = (await rig.do(RetryRun(source, b'"stop"'))).row
    assert (await claim(rig, row.run_id)).input == b'"stop"'


# Fork


async def test_a_fork_begins_with_exactly_its_checkpoint(rig: Rig) -> None:
    source = str((await rig.do(CreateRun("t", input=b'"go"', agent="a", metadata=b'{"k":1}'))).run_id)
    await claim(rig, source)
    await rig.do(Report(source, "w", [checkpoint(source, 1, 2), checkpoint(source, 2, 4)]))
    original = await rig.do(GetCheckpoint(source, 1))
    view = await rig.do(ForkRun(source, 1))
    fork = view.row
    assert fork == await rig.run(fork.run_id)
    assert fork.forked_from == ForkedFrom(source, 1, "a")
    assert (fork.resumed_from, fork.retry_of, fork.thread_id, fork.agent) == (source, None, "t", "a")
    assert (fork.status, fork.usage, bytes(fork.metadata)) == (Status.QUEUED, view.row.usage, b'{"k":1}')
    # The source goes on, and even writes that step anew.
    await rig.do(Report(source, "w", [checkpoint(source, 1, 1), checkpoint(source, 3, 6)]))
    await rig.do(Finish(source, "w", draft(E.RUN_COMPLETED, RunById(source))))
    claimed = await claim(rig, fork.run_id)
    state = claimed.checkpoint
    assert (state.history, state.history_meta, state.figures) == (
        original.history,
        original.history_meta,
        original.figures,
    )
    assert (state.row.step_index, state.row.agent, state.row.status) == (1, "a", "in_progress")
    assert claimed.input == b'"go"'
    assert [event.type for event in await rig.events(fork.run_id)][:2] == [E.RUN_QUEUED, E.CHECKPOINT]
    page = await rig.do(ListCheckpoints(fork.run_id, 10))
    assert [row.step_index for row in page.rows] == [1]
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_fork_that_was_lost_goes_on_from_its_own_newest_state(rig: Rig) -> None:
    source = await ended_with_checkpoint(rig)
    fork = (await rig.do(ForkRun(source, 5))).row.run_id
    await claim(rig, fork)
    await rig.do(Report(fork, "w", [checkpoint(fork, 6, 3)]))
    rig.clock.advance(LEASE_MS)
    assert (await claim(rig, fork, "other")).checkpoint.row.step_index == 6


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_retry_of_a_fork_begins_with_its_checkpoint(rig: Rig, forgets: bool) -> None:
    source = await ended_with_checkpoint(rig)
    runs = [(await rig.do(ForkRun(source, 5))).row.run_id]
    for number in range(2):
        await claim(rig, runs[-1])
        await rig.do(Report(runs[-1], "w", [checkpoint(runs[-1], 6 + number, 3)]))
        await rig.do(Finish(runs[-1], "w", draft(E.RUN_FAILED, RunById(runs[-1]), {"error": "x"})))
        if forgets:
            rig.engine.forget()
        row = (await rig.do(RetryRun(runs[-1]))).row
        assert (row.retry_of, row.resumed_from) == (runs[-1], runs[-1])
        assert row.forked_from is not None
        assert (row.forked_from.run_id, row.forked_from.step_index) == (source, 5)
        runs.append(row.run_id)
    began = await rig.do(GetCheckpoint(source, 5))
    state = (await claim(rig, runs[-1])).checkpoint
    assert (state.row.step_index, state.history, state.figures) == (5, began.history, began.figures)
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_fork_whose_checkpoint_is_gone_is_not_run_again(rig: Rig) -> None:
    fork = (await rig.do(ForkRun(await ended_with_checkpoint(rig), 5))).row.run_id
    await claim(rig, fork)
    await rig.do(Finish(fork, "w", draft(E.RUN_COMPLETED, RunById(fork))))
    await rig.do(EraseRun(fork))
    with pytest.raises(Conflict, match="checkpoint"):
        await rig.do(RetryRun(fork, b'"go"'))


async def ended_with_checkpoint(rig: Rig, **fields: Any) -> str:
    """A completed run that has a checkpoint of step 5."""
    run_id = str((await rig.do(CreateRun("t", **fields))).run_id)
    await claim(rig, run_id)
    await rig.do(Report(run_id, "w", [checkpoint(run_id, 5, 2)]))
    await rig.do(Finish(run_id, "w", draft(E.RUN_COMPLETED, RunById(run_id))))
    return run_id


async def test_what_a_fork_used_is_its_own(rig: Rig) -> None:
    source = await ended_with_checkpoint(rig)
    fork = (await rig.do(ForkRun(source, 5))).row
    assert fork.usage.all_tokens() is None


async def test_where_several_agents_have_a_step_the_named_one_counts_then_the_main_one(rig: Rig) -> None:
    def by(agent: str, count: int) -> Draft:
        state = checkpoint("", 1, count, agent=agent)
        return msgspec.structs.replace(state, run=traced("x", "team"))

    results = await rig.append(by("main", 1), by("side", 2))
    run_id = results[0].run_id
    await rig.append(
        msgspec.structs.replace(
            by("third", 3),
            facts=Facts(
                effects=Effects(checkpoint=msgspec.structs.replace(by("third", 3).effects.checkpoint, step_index=2))
            ),
        )
    )
    expected = {(1, None): "main", (1, "side"): "side", (2, None): "third", (2, "third"): "third"}
    for (step, agent), whose in expected.items():
        row = (await rig.do(ForkRun(run_id, step, agent))).row
        assert row.forked_from == ForkedFrom(run_id, step, whose)
        assert (await rig.do(GetCheckpoint(row.run_id, step))).row.agent == whose
        assert row.agent == "main"


@pytest.mark.parametrize(("step", "agent"), [(4, None), (6, None), (5, "nobody")])
async def test_a_checkpoint_that_is_not_there_is_not_found(rig: Rig, step: int, agent: str | None) -> None:
    source = await ended_with_checkpoint(rig)
    log = await rig.log()
    with pytest.raises(NotFound) as refused:
        await rig.do(ForkRun(source, step, agent))
    assert refused.value.kind == "checkpoint"
    with pytest.raises(NotFound):
        await rig.do(ForkRun("nothing", 5))
    assert await rig.log() == log


async def test_a_fork_of_what_waits_for_approval_waits_for_nobody(rig: Rig) -> None:
    state = checkpoint("", 1, 1, agent="a")
    waits = msgspec.structs.replace(state.effects.checkpoint, status="waiting_for_approval")
    facts = Facts(effects=Effects(status=Status.WAITING, checkpoint=waits))
    [told] = await rig.append(msgspec.structs.replace(state, run=traced("x", "t"), facts=facts))
    fork = (await rig.do(ForkRun(told.run_id, 1))).row
    assert [view.row.run for view in (await rig.do(ListApprovals(10))).rows] == [(await rig.run(told.run_id)).run]
    assert (await claim(rig, fork.run_id)).checkpoint.row.status == "in_progress"
    await rig.do(Decide("x", 1, "approved"))


async def test_a_run_shows_what_it_comes_from_after_a_rebuild_too(rig: Rig) -> None:
    source = await ended_with_checkpoint(rig)
    fork = (await rig.do(ForkRun(source, 5))).row.run_id
    rig.engine.forget()
    view = await rig.do(GetRun(fork))
    assert view.row.forked_from == ForkedFrom(source, 5, "default")
    assert await verify_org(rig.store, rig.org) == 0
