"""What another key tells of a run: it counts, and moves neither the run nor the delivery of the run's own key."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from tests.engine.commands.test_lanes import LEASE_MS, create
from tests.engine.control.test_rights import held, minted, tell, under
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from tests.support.tables import table
from towerlog.dialects.run_json import delivery_view
from towerlog.engine.verify import verify_org
from towerlog.model.command import ClaimRun, Finish, Report, RevokeKey
from towerlog.model.event import Draft, EventType, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.ledger import MAX_CLIENTS
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import Usage, UsageReport

E = EventType


def step(run_id: str, client: str, number: int, dropped: tuple[int, int] | None = None) -> Draft:
    """A step that its client has numbered."""
    return draft(E.STEP, RunById(run_id), facts=Facts(client_id=client, client_seq=number, client_dropped=dropped))


async def report(rig: Rig, key_id: str, run_id: str, *numbers: int, client: str = "w") -> None:
    """Steps of the holder, numbered."""
    items = [step(run_id, client, number) for number in numbers]
    await rig.do(Report(run_id, "w", items, dialect="native"), principal=under(rig, key_id))


def numbers_of(row: RunRow) -> dict[str, tuple[int, int, bool]]:
    """Client → (received, highest, complete)."""
    return {name: (one.received_count(), one.highest, one.is_complete()) for name, one in row.clients.items()}


async def is_sound(rig: Rig) -> bool:
    """Whether folding the log again gives the stored rows."""
    return await verify_org(rig.store, rig.org) == 0


async def test_strangers_numbers_do_not_touch_the_holders_delivery(rig: Rig) -> None:
    run_id = await held(rig)
    await report(rig, "mine", run_id, 1, 2, 3)
    before = await rig.run(run_id)
    await tell(rig, "other", step(run_id, "w", 900), step(run_id, "w", 4), step(run_id, "w", 901, (5, 500)))
    row = await rig.run(run_id)
    assert (row.clients, row.last_seq) == (before.clients, before.last_seq + 3)
    await report(rig, "mine", run_id, 4, 5)
    row = await rig.run(run_id)
    assert numbers_of(row) == {"w": (5, 5, True)}
    assert delivery_view(row).complete is True
    assert await is_sound(rig)


@pytest.mark.parametrize("is_held", [True, False])
async def test_strangers_clients_take_no_place_of_the_holders(rig: Rig, is_held: bool) -> None:
    run_id = await held(rig) if is_held else await create(rig)
    for number in range(MAX_CLIENTS + 6):
        await tell(rig, "other", step(run_id, f"c{number}", 5))
    if not is_held:
        await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "mine"))
    await report(rig, "mine", run_id, 1, 2)
    row = await rig.run(run_id)
    assert (numbers_of(row), row.uncounted_clients) == ({"w": (2, 2, True)}, False)
    assert await is_sound(rig)


async def test_a_worker_that_lost_its_lease_fills_its_own_gaps(rig: Rig) -> None:
    run_id = await held(rig)
    await report(rig, "mine", run_id, 1, 2)
    rig.clock.advance(LEASE_MS + 1)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "next"))
    await report(rig, "next", run_id, 1, client="n")
    await tell(rig, "mine", step(run_id, "w", 4), step(run_id, "w", 3), step(run_id, "new", 7))
    row = await rig.run(run_id)
    assert numbers_of(row) == {"w": (4, 4, True), "n": (1, 1, True)}
    assert [one.key for one in row.clients.values()] == ["mine", "next"]
    assert await is_sound(rig)


async def test_the_holder_takes_a_client_id_over_from_the_worker_before(rig: Rig) -> None:
    run_id = await held(rig)
    await report(rig, "mine", run_id, 1, 2)
    rig.clock.advance(LEASE_MS + 1)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "next"))
    await report(rig, "next", run_id, 3, 4)
    await tell(rig, "mine", step(run_id, "w", 900))
    row = await rig.run(run_id)
    assert (numbers_of(row), row.clients["w"].key) == ({"w": (4, 4, True)}, "next")
    assert await is_sound(rig)


async def test_the_end_of_a_run_gives_its_delivery_to_nobody(rig: Rig) -> None:
    run_id = await held(rig)
    await report(rig, "mine", run_id, 1, 3)
    end = Draft(E.RUN_COMPLETED, RunById(run_id), b"{}", Facts())
    await rig.do(Finish(run_id, "w", end), principal=under(rig, "mine"))
    await tell(rig, "other", step(run_id, "w", 900), step(run_id, "mine-too", 1))
    assert numbers_of(await rig.run(run_id)) == {"w": (2, 3, False)}
    await tell(rig, "mine", step(run_id, "w", 2))
    assert numbers_of(await rig.run(run_id)) == {"w": (3, 3, True)}
    assert await is_sound(rig)


async def test_a_run_that_was_not_made_for_workers_counts_the_numbers_of_its_reporter(rig: Rig) -> None:
    [begun] = await tell(rig, "mine", draft(E.RUN_STARTED, traced("x"), facts=Facts(client_id="c", client_seq=1)))
    await tell(rig, "other", step(begun.run_id, "c", 900), step(begun.run_id, "d", 2))
    await tell(rig, "mine", step(begun.run_id, "c", 2))
    assert numbers_of(await rig.run(begun.run_id)) == {"c": (2, 2, True)}
    assert await is_sound(rig)


async def test_whoever_starts_a_run_that_was_only_heard_of_begins_with_no_ones_numbers(rig: Rig) -> None:
    ref = traced("x")
    for number in range(MAX_CLIENTS + 1):
        await tell(rig, "other", draft(E.STEP, ref, facts=Facts(client_id=f"c{number}", client_seq=5)))
    start = Facts(client_id="c", client_seq=1, effects=Effects(is_start=True))
    [begun] = await tell(rig, "mine", draft(E.RUN_STARTED, ref, facts=start))
    await tell(rig, "mine", step(begun.run_id, "c", 2))
    row = await rig.run(begun.run_id)
    assert (numbers_of(row), row.uncounted_clients) == ({"c": (2, 2, True)}, False)
    assert await is_sound(rig)


async def test_a_program_goes_on_counting_under_a_new_key_once_its_old_one_is_revoked(rig: Rig) -> None:
    old, new = [(await minted(rig))[0].key_id for _ in range(2)]
    [begun] = await tell(rig, old, draft(E.RUN_STARTED, traced("x"), facts=Facts(client_id="c", client_seq=1)))
    await tell(rig, new, step(begun.run_id, "c", 3))
    assert numbers_of(await rig.run(begun.run_id)) == {"c": (1, 1, True)}
    await rig.do(RevokeKey(old))
    await tell(rig, new, step(begun.run_id, "c", 2))
    row = await rig.run(begun.run_id)
    assert (numbers_of(row), row.clients["c"].key) == ({"c": (2, 2, True)}, new)
    assert await is_sound(rig)


CALL = Effects(report=UsageReport(Usage(input_tokens=3), "delta"), model="theirs", provider="openai")


@pytest.mark.parametrize("told_before", [True, False])
async def test_a_strangers_model_call_counts_and_does_not_name_the_runs_model(rig: Rig, told_before: bool) -> None:
    run_id = await held(rig)
    own = draft(E.MODEL_CALL, RunById(run_id), facts=Facts(effects=msgspec.structs.replace(CALL, model="own")))
    if told_before:
        await tell(rig, "mine", own)
    [told] = await tell(rig, "other", draft(E.MODEL_CALL, RunById(run_id), facts=Facts(effects=CALL)))
    assert not told.foreign
    row = await rig.run(run_id)
    assert (row.model, row.usage.input_tokens) == (("own", 6) if told_before else (None, 3))
    assert row.model_of("default") == ("own" if told_before else None)
    await tell(rig, "mine", own)
    row = await rig.run(run_id)
    assert (row.model, row.model_of("default")) == ("own", "own")
    assert await is_sound(rig)


@table("is_late", [False, True])
@table("is_first", [False, True])
async def test_what_an_agent_spends_stays_under_its_own_model_whatever_strangers_call(
    rig: Rig, is_first: bool, is_late: bool
) -> None:
    rig.principal = await rig.make_org(rig.ids.uuid())
    run_id = await held(rig)
    ref = RunById(run_id)
    total = Effects(report=UsageReport(Usage(input_tokens=100), "total"))
    own = [
        draft(E.STEP, ref, agent="a"),
        draft(E.STEP, ref, facts=Facts(effects=Effects(model="own")), agent="a"),
        draft(E.OTHER, ref, facts=Facts(effects=total), agent="a"),
    ]
    theirs = [
        draft(E.MODEL_CALL, ref, facts=Facts(effects=CALL), agent="a"),
        draft(E.STEP, ref, facts=Facts(effects=Effects(model="theirs")), agent="a"),
    ]
    if is_late:
        await rig.do(Finish(run_id, "w", Draft(E.RUN_COMPLETED, ref, b"{}", Facts())), principal=under(rig, "mine"))
    await tell(rig, "mine", own[0])
    if not is_first:
        await tell(rig, "mine", own[1])
    await tell(rig, "other", *theirs)
    await tell(rig, "mine", *own[2 - is_first :])
    events: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for cell in (await rig.store.rows(rig.org)).usage:
        if cell.agent == "a":
            events[cell.model] += cell.events
            tokens[cell.model] += cell.usage.input_tokens or 0
    assert +events == {"own": 3, "theirs": 2}
    assert (tokens["own"] > 0, tokens["theirs"], tokens[""]) == (True, 3, 0)
    assert (await rig.run(run_id)).model_of("a") == "own"
    assert await is_sound(rig)


async def test_a_strangers_tools_are_not_the_runs_open_ones(rig: Rig) -> None:
    run_id = await held(rig)
    ref = RunById(run_id)
    await tell(rig, "mine", draft(E.TOOL_CALL, ref, facts=Facts(tool="sh", tool_call_id="own")))
    calls = [draft(E.TOOL_CALL, ref, facts=Facts(tool="sh", tool_call_id=f"s{number}")) for number in range(70)]
    result = draft(E.TOOL_RESULT, ref, facts=Facts(tool="sh", tool_call_id="own"))
    unnamed = draft(E.TOOL_RESULT, ref, facts=Facts(tool="sh"))
    await tell(rig, "other", *calls, result, unnamed)
    assert [call.call_id for call in (await rig.run(run_id)).open_tools] == ["own"]
    assert (await rig.events(run_id))[-1].facts.tool_call_id not in ("own", None)
    await tell(rig, "mine", unnamed)
    row = await rig.run(run_id)
    assert row.open_tools == ()
    assert (await rig.events(run_id))[-1].facts.tool_call_id == "own"
    assert await is_sound(rig)


async def test_a_strangers_step_leaves_an_idle_run_idle(rig: Rig) -> None:
    run_id = await held(rig)
    ref = RunById(run_id)
    await tell(rig, "mine", draft(E.OTHER, ref, facts=Facts(effects=Effects(idle=True))))
    await tell(rig, "other", draft(E.STEP, ref), draft(E.MODEL_CALL, ref, facts=Facts(effects=CALL)))
    assert (await rig.run(run_id)).idle
    await tell(rig, "mine", draft(E.STEP, ref))
    assert not (await rig.run(run_id)).idle
    assert await is_sound(rig)


START = Effects(is_start=True, parent_key="trace:elsewhere", model="theirs", metadata=msgspec.Raw(b'{"a":1}'))


async def test_a_strangers_start_fills_in_nothing_after_the_end(rig: Rig) -> None:
    run_id = await held(rig)
    end = Draft(E.RUN_COMPLETED, RunById(run_id), b"{}", Facts())
    await rig.do(Finish(run_id, "w", end), principal=under(rig, "mine"))
    before = await rig.run(run_id)
    late = draft(E.MODEL_CALL, RunById(run_id), facts=Facts(effects=CALL))
    start = draft(E.RUN_STARTED, RunById(run_id), facts=Facts(effects=START))
    told = await tell(rig, "other", start, late)
    assert [one.foreign for one in told] == [True, False]
    row = await rig.run(run_id)
    kept = [(one.parent_key, one.model, one.metadata, one.agent) for one in (before, row)]
    assert kept[0] == kept[1]
    assert await is_sound(rig)


async def test_a_strangers_recovery_does_not_turn_a_failed_run_around(rig: Rig) -> None:
    run_id = await held(rig)
    failed = Draft(E.RUN_FAILED, RunById(run_id), b'{"error":"broken"}', Facts(error="broken"))
    await rig.do(Finish(run_id, "w", failed), principal=under(rig, "mine"))
    recovered = draft(E.RUN_COMPLETED, RunById(run_id), facts=Facts(effects=Effects(recovered=True)))
    [told] = await tell(rig, "other", recovered)
    assert told.foreign
    assert (await rig.run(run_id)).status is Status.FAILED
    assert await is_sound(rig)
