"""Spans of a trace in any requests and any order: each is stored once, and the sums are those of one request."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.dialects.otlp.test_dialect import decode
from tests.support.otlp import Json, span, traces
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.engine.verify import verify_org
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, ListBudgets, Period
from towerlog.model.event import Refusal
from towerlog.model.price import FEMTOS_PER_NANO, PriceCard, Reprice
from towerlog.model.principal import Principal
from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN, RunRow
from towerlog.model.span import MAX_GONE_IDS, MAX_OPEN_PARENTS, MAX_TOLD_CALLS
from towerlog.model.usage import NO_USAGE, Usage, add

DOLLAR = 1_000_000_000
CHAT = {"gen_ai__operation__name": "chat"}
AGENT = {"gen_ai__operation__name": "invoke_agent"}
AGENTS = ("lead", "scout", "critic")


def chat(number: int, parent: int, sent: int, *, model: str = "m1", **attributes: Any) -> Json:
    """A model call with so much input, and one token of output."""
    figures = {"gen_ai__usage__input_tokens": sent, "gen_ai__usage__output_tokens": 1}
    return span(number, parent, gen_ai__request__model=model, **CHAT, **figures, **attributes)


def agent(number: int, parent: int, name: str) -> Json:
    return span(number, parent, gen_ai__agent__name=name, **AGENT)


async def send(rig: Rig, who: Principal, *spans: Json, service: str = "weather") -> None:
    """One request; nothing of it is refused."""
    done = await rig.do(decode(traces(*spans, service=service)), dialect="otlp", principal=who)
    assert [one for one in done.results if isinstance(one, Refusal)] == []


async def sums(rig: Rig, who: Principal) -> dict[str, Any]:
    """What an organisation shows: by the tree of each root, by agent, by model, altogether and by budget."""
    complaints: list[str] = []
    assert await verify_org(rig.store, who.org, complaints.append) == 0, complaints
    rows = await rig.store.rows(who.org)
    found: dict[str, Any] = {"trees": {}, "agents": {}, "models": {}, "agent rows": {}, "all": NO_USAGE}
    by_name = {f"{PARENT_FOREIGN}{row.foreign_id}": row for row in rows.runs}
    by_name |= {f"{PARENT_RUN}{row.run_id}": row for row in rows.runs}
    for row in rows.runs:
        top = top_of(row, by_name)
        found["trees"][top.agent] = add(found["trees"].get(top.agent, NO_USAGE), row.usage)
    for cell in rows.usage:
        found["agents"][cell.agent] = add(found["agents"].get(cell.agent, NO_USAGE), cell.usage)
        found["models"][cell.model] = add(found["models"].get(cell.model, NO_USAGE), cell.usage)
        found["all"] = add(found["all"], cell.usage)
        assert all(figure is None or figure >= 0 for figure in tokens_of(cell.usage))
    found["agent rows"] = {row.name: row.usage for row in rows.agents}
    budgets = (await rig.do(ListBudgets(100, None), principal=who)).rows
    found["budgets"] = {one.row.name: one.row.spent_nanos for one in budgets}
    return {name: plain(value) for name, value in found.items()}


def tokens_of(usage: Usage) -> tuple[int | None, ...]:
    return usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.cost_nanos, usage.computed_nanos


def plain(value: Any) -> Any:
    """Figures, without what is 0 or unknown."""
    if isinstance(value, Usage):
        return tuple(figure or 0 for figure in tokens_of(value))
    if isinstance(value, dict):
        told = {name: plain(one) for name, one in value.items()}
        return {name: one for name, one in told.items() if one not in (0, (0,) * 5)}
    return value


def top_of(row: RunRow, by_name: dict[str, RunRow]) -> RunRow:
    while row.parent_key is not None:
        row = by_name[row.parent_key]
    return row


async def with_budgets(rig: Rig, name: str) -> Principal:
    """An organisation that has one of all, and one of each agent."""
    who = await rig.make_org(name)
    asked: Any = {"amount_nanos": 1000 * DOLLAR, "period": Period.TOTAL, "action": BudgetAction.WARN}
    await rig.do(CreateBudget("all", BudgetScope(organisation=True), **asked), principal=who)
    for one in (*AGENTS, "weather"):
        await rig.do(CreateBudget(one, BudgetScope(agent=one), **asked), principal=who)
    return who


MODELS = ("m1", "m2")


def trace_of(rnd: random.Random) -> list[Json]:
    """A trace of one root, with agents, tools, steps and model calls below each other, whichever below which."""
    spans, numbers = [agent(1, 0, "lead")], itertools.count(2)
    places: list[tuple[int, str]] = [(1, "lead")]
    for _ in range(rnd.randint(1, 9)):
        number, (parent, name) = next(numbers), rnd.choice(places)
        kind = rnd.random()
        if kind < 0.15:
            name = rnd.choice(AGENTS[1:])
            spans.append(agent(number, parent, name))
        elif kind < 0.3:
            spans.append(span(number, parent, name="turn"))
        elif kind < 0.4:
            tool = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "ls"}
            spans.append(span(number, parent, **tool))
        else:
            spans += calls_of(rnd, number, parent, name, numbers)
        places.append((number, name))
    return spans


def calls_of(rnd: random.Random, number: int, parent: int, name: str, numbers: Any) -> list[Json]:
    """A model call, perhaps with others below it: it tells what these use together, or more, or less."""
    # The agent of the root is that of all that names none; of a nested one each call says whose it is.
    told: dict[str, Any] = {} if name == "lead" and rnd.random() < 0.5 else {"gen_ai__agent__name": name}
    told["model"] = rnd.choice(MODELS)
    inner = [rnd.randint(1, 50) for _ in range(rnd.choice((0, 0, 1, 2)))]
    own = max(1, sum(inner) + rnd.choice((0, 0, 7, -3))) if inner else rnd.randint(1, 50)
    if rnd.random() < 0.4:
        told["gen_ai__usage__cost"] = own / 1000
    if rnd.random() < 0.3:
        told["gen_ai__usage__cache_read__input_tokens"] = own // 2
    named = {"gen_ai__response__id": f"r{number}"} if rnd.random() < 0.5 else {}
    found = [chat(number, parent, own, **told, **named)]
    if named and rnd.random() < 0.3:
        found.append(chat(next(numbers), parent, own, **told, **named))
    told.pop("gen_ai__usage__cost", None)
    told.pop("gen_ai__usage__cache_read__input_tokens", None)
    for one in inner:
        between = next(numbers)
        if rnd.random() < 0.5:
            found.append(span(between, number, name="try"))
        above = between if len(found) and found[-1]["spanId"] == f"{between:016x}" else number
        cost = {"gen_ai__usage__cost": one / 1000} if rnd.random() < 0.3 else {}
        found.append(chat(next(numbers), above, one, **told | {"model": rnd.choice(MODELS)}, **cost))
    return found


@pytest.mark.parametrize("examples", [12, pytest.param(1500, marks=pytest.mark.slow)])
def test_the_sums_of_a_trace_are_those_of_one_request(tmp_path: Path, examples: int) -> None:
    """However it is cut into requests, whichever comes first, and whatever is sent again."""
    names = map("org {}".format, itertools.count())
    with asyncio.Runner() as runner:

        @settings(
            max_examples=examples,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
            deadline=None,
        )
        @given(st.integers(0, 2**32))
        def holds(seed: int) -> None:
            runner.run(check(rig, names, random.Random(seed)))

        opened = open_rig(tmp_path, prices=FixedPrices({"m1": card(3, 1, 4, 7, 9)}))  # and none of m2
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check(rig: Rig, names: Any, rnd: random.Random) -> None:
    spans = trace_of(rnd)
    whole, cut = await with_budgets(rig, next(names)), await with_budgets(rig, next(names))
    await send(rig, whole, *spans)
    sent = [*spans, *rnd.sample(spans, rnd.randint(0, len(spans)))]
    rnd.shuffle(sent)
    while sent:
        count = rnd.randint(1, 4)
        await send(rig, cut, *sent[:count])
        sent = sent[count:]
        if rnd.random() < 0.2:
            rig.engine.forget()
    found = await sums(rig, cut)
    assert found == await sums(rig, whole)
    assert found["all"][2] == sum(by_the_rule(spans))


def by_the_rule(spans: list[Json]) -> tuple[int, int]:
    """Input and output of a trace: a model call with others below it counts what exceeds those."""

    def figures(told: Json) -> tuple[int, int]:
        found = {one["key"]: int(one["value"].get("intValue", 0)) for one in told["attributes"]}
        return found.get("gen_ai.usage.input_tokens", 0), found.get("gen_ai.usage.output_tokens", 0)

    def whole(told: Json) -> tuple[int, int]:
        below = [whole(one) for one in first if one.get("parentSpanId") == told["spanId"]]
        sent, written = figures(told)
        return max(sent, sum(one for one, _ in below)), max(written, sum(one for _, one in below))

    # Of one response the first account; the generator lets both tell the same, and only the first has calls below it.
    seen: set[str] = set()
    first = []
    for told in spans:
        ids = [one["value"]["stringValue"] for one in told["attributes"] if one["key"] == "gen_ai.response.id"]
        if not seen.intersection(ids):
            first.append(told)
        seen.update(ids)
    return whole(first[0])


# One thing at a time


async def cut(rig: Rig, *requests: list[Json]) -> dict[str, Any]:
    """What is shown once these requests have come, in an organisation of its own."""
    who = await with_budgets(rig, f"org {rig.ids.uuid()}")
    for spans in requests:
        await send(rig, who, *spans)
    return await sums(rig, who)


@pytest.fixture
async def priced(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, prices=FixedPrices({"m1": card(1_000_000, 1, 1, 1, 1)})) as opened:
        yield opened


LEAD, SCOUT = agent(1, 0, "lead"), agent(2, 1, "scout")
CALL = chat(3, 2, 100, gen_ai__agent__name="scout")


@pytest.mark.parametrize(
    "requests",
    [[[CALL, SCOUT, LEAD], [CALL]], [[CALL], [CALL, SCOUT, LEAD]], [[CALL], [SCOUT], [CALL], [LEAD], [CALL, SCOUT]]],
    ids=["all and again", "alone and all", "one by one"],
)
async def test_a_span_that_is_sent_again_in_another_batch_counts_once(priced: Rig, requests: list[list[Json]]) -> None:
    found = await cut(priced, *requests)
    assert found == await cut(priced, [CALL, SCOUT, LEAD])
    assert found["all"][2] == 101


async def test_what_a_run_spent_before_its_root_came_is_the_agents_of_the_root(priced: Rig) -> None:
    """And its budget counts it."""
    late = await cut(priced, [chat(2, 1, 100)], [LEAD])
    assert late == await cut(priced, [chat(2, 1, 100), LEAD])
    assert list(late["agents"]) == list(late["agent rows"]) == ["lead"]
    assert late["budgets"] == {"all": 100_000_001, "lead": 100_000_001}


async def test_until_an_agent_is_named_the_service_is_it(priced: Rig) -> None:
    found = await cut(priced, [chat(2, 1, 100)])
    assert (list(found["agents"]), found["budgets"]["weather"]) == (["weather"], 100_000_001)
    assert list(found["trees"]) == ["weather"]


async def test_a_part_that_names_an_agent_does_not_name_the_run(priced: Rig) -> None:
    for requests in ([[CALL], [chat(4, 1, 10)], [LEAD]], [[chat(4, 1, 10)], [CALL], [LEAD]]):
        found = await cut(priced, *requests)
        assert list(found["trees"]) == ["lead"]
        assert {name: figures[2] for name, figures in found["agents"].items()} == {"scout": 101, "lead": 11}


async def test_two_accounts_of_one_response_count_once_however_they_come(rig: Rig) -> None:
    """And what is sent again is known again."""
    one = chat(2, 1, 100, gen_ai__response__id="r")
    other = chat(3, 1, 100, gen_ai__response__id="r", gen_ai__usage__cost=0.5)
    for requests in ([[one], [other], [one, other], [other, one]], [[one, other], [other], [one]]):
        found = await cut(rig, *requests, [LEAD])
        assert found["all"][2] == 101
        assert sorted(one.type for one in await rig.log((await rig.store.orgs())[-1].org)) == [
            "model.call", "run.completed", "run.started", "step",
        ]  # fmt: skip


OUTER, INNER = chat(2, 1, 100), chat(4, 2, 90, model="m2")


@pytest.mark.parametrize("requests", [[[INNER], [OUTER]], [[OUTER], [INNER]], [[INNER, OUTER]]], ids=["1", "2", "3"])
async def test_an_outer_call_counts_what_exceeds_those_below_it(priced: Rig, requests: list[list[Json]]) -> None:
    assert (await cut(priced, *requests, [LEAD]))["all"][:3] == (100, 1, 101)


SPOKEN = {"gen_ai__usage__output_audio_tokens": 1}


@table("order", [[0, 1], [1, 0]])
@table("written, cost, unpriced", [(1, 1_000_000_050, 0), (30, 1_000_000_050, 1)])
async def test_the_rest_of_an_outer_call_with_audio_has_no_price_in_any_order(
    tmp_path: Path, order: list[int], written: int, cost: int, unpriced: int
) -> None:
    """Whether what it tells more is audio is known to nobody. 1,000 of input at 1,000,000, and one of audio at 50."""
    rates = msgspec.structs.replace(card(1_000_000, 1, 1, 1, 1).rates, output_audio=50 * FEMTOS_PER_NANO)
    folder = tmp_path / f"{order} {written}"
    async with open_rig(folder, prices=FixedPrices({"m1": PriceCard(rates, "v")})) as rig:
        figures = {"gen_ai__usage__input_tokens": 1000, "gen_ai__usage__output_tokens": written}
        outer = span(2, 1, gen_ai__request__model="m1", **CHAT, **figures, **SPOKEN)
        spans = [outer, chat(4, 2, 1000, **SPOKEN)]
        who = await with_budgets(rig, f"org {rig.ids.uuid()}")
        for at in order:
            await send(rig, who, spans[at])
        assert (await sums(rig, who))["all"] == (1000, written, 1000 + written, cost, cost)
        [row] = (await rig.store.rows(who.org)).runs
        assert (row.usage.unpriced_calls or 0) == unpriced
        assert (await rig.do(Reprice(since=0), principal=who)).changes == []


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["outer first", "inner first"])
async def test_the_rest_of_an_outer_call_is_priced_where_it_is_output_alone(priced: Rig, order: list[int]) -> None:
    """By the price of output: that no input is beside it was worked out, and is not unknown."""
    figures = {"gen_ai__usage__input_tokens": 100, "gen_ai__usage__output_tokens": 30}
    outer = span(2, 1, gen_ai__request__model="m1", **CHAT, **figures)
    spans = [outer, chat(4, 2, 100)]
    who = await with_budgets(priced, f"org {priced.ids.uuid()}")
    for at in order:
        await send(priced, who, spans[at])
    assert (await sums(priced, who))["all"] == (100, 30, 130, 100_000_030, 100_000_030)
    assert (await priced.do(Reprice(since=0), principal=who)).changes == []


async def test_what_stands_between_two_calls_is_seen_through(priced: Rig) -> None:
    between = span(5, 2, name="try")
    inner = chat(4, 5, 100)
    for requests in ([[inner], [between], [OUTER]], [[inner], [between, OUTER]], [[inner, between], [OUTER]]):
        assert (await cut(priced, *requests, [LEAD]))["all"][2] == 101


BETWEEN = span(5, 2, name="try")
UNDER = chat(4, 5, 90, model="m2")


@pytest.mark.parametrize("order", list(itertools.permutations((OUTER, BETWEEN, UNDER))))
async def test_the_models_share_what_they_share_in_one_request(priced: Rig, order: tuple[Json, ...]) -> None:
    """Whatever comes first: the outer one, the inner one, or what stands between them."""
    found = await cut(priced, *([one] for one in order), [LEAD])
    assert found == await cut(priced, [*order, LEAD])
    assert {model: figures[2] for model, figures in found["models"].items()} == {"m1": 10, "m2": 91}


async def test_a_run_of_an_agent_below_a_call_changes_what_the_call_counts_in_its_own_run(priced: Rig) -> None:
    inner = [agent(5, 2, "scout"), chat(4, 5, 90, gen_ai__agent__name="scout")]
    found = await cut(priced, [OUTER], inner, [LEAD])
    assert found == await cut(priced, [OUTER, *inner, LEAD])
    assert {name: figures[2] for name, figures in found["agents"].items()} == {"lead": 10, "scout": 91}
    log = await priced.log((await priced.store.orgs())[-2].org)
    assert [one.type for one in log].count("usage.recounted") == 1


async def test_a_root_in_another_process_is_below_the_call_that_called_it(priced: Rig) -> None:
    remote = [agent(5, 2, "scout") | {"flags": 0x300}, chat(4, 5, 90)]
    for requests in ([[*remote, OUTER, LEAD]], [remote, [OUTER, LEAD]], [[OUTER, LEAD], remote]):
        assert (await cut(priced, *requests))["all"][2] == 101


async def test_what_is_below_the_second_account_of_a_response_is_below_the_response(priced: Rig) -> None:
    one, other = (chat(number, 1, 100, gen_ai__response__id="r") for number in (2, 3))
    inner = chat(4, 3, 90)
    for order in itertools.permutations((one, other, inner)):
        assert (await cut(priced, *([told] for told in order), [LEAD]))["all"][2] == 101
    assert (await cut(priced, [one, other, inner, LEAD]))["all"][2] == 101


async def test_a_call_below_one_that_is_remembered_no_more_does_not_count(priced: Rig) -> None:
    """Rather less than twice, and the run says so."""
    who = await with_budgets(priced, "many")
    named = {"gen_ai__response__id": "r"}
    for outer in (OUTER, chat(3, 1, 100, **named)):
        await send(priced, who, outer)
    await send(priced, who, *(chat(number, 1, 1) for number in range(10, 60)))
    await send(priced, who, chat(4, 2, 90), chat(5, 3, 90))
    await send(priced, who, chat(6, 4, 80))
    assert (await sums(priced, who))["all"][2] == 101 + 101 + 50 * 2
    (run,) = (await priced.store.rows(who.org)).runs
    assert run.usage_flags == ("calls_forgotten",)


async def test_calls_of_a_trace_are_remembered_within_bounds(priced: Rig) -> None:
    who = await with_budgets(priced, "many")
    for part in range(4):
        at = 100 + part * 200
        await send(priced, who, *(chat(number, 5000 + number, 1) for number in range(at, at + 200)))
    (run,) = (await priced.store.rows(who.org)).runs
    told = run.calls
    assert (len(told.calls), len(told.below)) == (MAX_TOLD_CALLS, MAX_OPEN_PARENTS)
    assert len(told.gone) == 8 * MAX_GONE_IDS
    # Those with the lowest numbers came last: they end last.
    await send(priced, who, chat(5000 + 700, 1, 10))
    assert (await sums(priced, who))["all"][2] == 1600 + 9
    await send(priced, who, chat(5000 + 899, 1, 10))
    assert (await sums(priced, who))["all"][2] == 1600 + 9, "its sum is forgotten"
    await send(priced, who, span(5000 + 898, 9000, name="try"))
    await send(priced, who, chat(9000, 1, 10))
    await send(priced, who, chat(9001, 1, 10))
    assert (await sums(priced, who))["all"][2] == 1600 + 9 + 11
    await send(priced, who, span(5000 + 897, 9001, name="try"))
    assert (await sums(priced, who))["all"][2] == 1600 + 9, "and that there was something below it"


async def test_a_told_cost_does_not_count_beside_what_was_computed_of_it(priced: Rig) -> None:
    outer = chat(2, 1, 100, gen_ai__usage__cost=0.2)
    inner = chat(4, 2, 100)
    for requests in ([[inner], [outer]], [[outer], [inner]], [[inner, outer]]):
        assert (await cut(priced, *requests, [LEAD]))["all"][3] == DOLLAR // 5


async def test_each_root_has_a_run_with_what_is_below_it(rig: Rig) -> None:
    """Whichever comes first, and whether or not its parent is in another process."""
    first = [agent(1, 0, "lead"), chat(2, 1, 100)]
    second = [agent(3, 9, "scout") | {"flags": 0x300}, chat(4, 3, 10), agent(5, 3, "critic"), chat(6, 5, 1)]
    for requests in ([[*first, *second]], [first, second], [second, first], [first, second[:1], second[1:]]):
        found = await cut(rig, *requests)
        assert {name: figures[2] for name, figures in found["trees"].items()} == {"lead": 101, "scout": 13}


async def test_the_second_turn_of_a_session_that_is_one_trace_is_a_run(rig: Rig) -> None:
    """Its children come before its root, and after the end of the first turn."""

    def at(told: Json, seconds: int) -> Json:
        """So long after an hour ago."""
        moved = rig.clock.now_ms() * 10**6 - 1_775_127_600 * 10**9 + seconds * 10**9
        return told | {name: str(int(told[name]) + moved) for name in ("startTimeUnixNano", "endTimeUnixNano")}

    first = [[at(chat(2, 1, 100), 0)], [at(agent(1, 0, "lead"), 0)]]
    direct, deep, between, root = chat(4, 3, 10), chat(6, 5, 1), span(5, 3, name="step"), agent(3, 0, "scout")
    for second in ([[direct], [root]], [[direct, deep], [between], [root]], [[direct, deep], [between, root]]):
        found = await cut(rig, *first, *([at(one, 60) for one in spans] for spans in second))
        expected = 11 + (2 if len(second[0]) > 1 else 0)
        assert {name: figures[2] for name, figures in found["trees"].items()} == {"lead": 101, "scout": expected}


async def test_what_logfire_tells_of_a_stream_stands_in_the_run_that_has_asked(rig: Rig) -> None:
    """The parent of such a span is flagged remote, and is of the same process."""
    root, asked = agent(1, 0, "lead"), span(2, 1, gen_ai__request__model="m1", **CHAT)
    streamed = chat(3, 1, 30, logfire__span_type="log") | {"flags": 0x300}
    requests = ([root, asked, streamed], [streamed, root, asked])
    for number, order in enumerate((*([one] for one in requests), *([[one] for one in spans] for spans in requests))):
        who = await rig.make_org(f"stream {number}")
        for request in order:
            await send(rig, who, *request)
        [run] = (await rig.store.rows(who.org)).runs
        assert (run.agent, run.usage.input_tokens, run.usage.output_tokens) == ("lead", 30, 1), number
