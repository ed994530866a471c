"""Deep traces: what a request costs grows with what it brings, wherever its calls stand, and none is a failure.

Costs are counted as ids that are looked for and questions to the store, not as time.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from tests.dialects.otlp.test_dialect import decode
from tests.engine.ingest.test_spans import agent, by_the_rule, chat, send
from tests.support.factories import draft, traced
from tests.support.otlp import Json, span, traces
from tests.support.rig import Rig
from tests.support.wait import wait_until_async
from towerlog.engine.commit import writer
from towerlog.engine.commit.turn import Turn
from towerlog.engine.ingest.spans import MAX_TRACE_RUNS
from towerlog.engine.load import rows
from towerlog.engine.load.misses import MAX_SPANS_ABOVE, NotLoaded
from towerlog.engine.load.span_ways import MAX_LOOKS_ABOVE, WORK_OF_SPAN
from towerlog.engine.verify import verify_org
from towerlog.model.command import Append
from towerlog.model.run import RunRow
from towerlog.store.values import Kind

CALLS_AT = 50_000
"""The numbers of calls begin here, those of the steps above them are lower."""


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many ids were looked for (`ids`), asked of the store (`keys`), and in how many questions (`questions`); and
    how many spans are on the ways that it has told (`spans`)."""
    found: Counter[str] = Counter()
    is_new_id, fetch = rows.Known.is_new_id, rows.fetch

    def is_new(self: rows.Known, run: int, event_id: str) -> bool:
        found["ids"] += 1
        return is_new_id(self, run, event_id)

    async def noted(unit: Any, known: Any, serving_ms: int, wanted: dict[Kind, Any]) -> None:
        found["questions"] += 1
        found["keys"] += sum(len(list(keys)) for keys in wanted.values())
        await fetch(unit, known, serving_ms, wanted)
        ways = wanted.get(Kind.SPAN_WAY, ())
        found["spans"] += len({(way.runs, one) for way in ways for one in known.get(Kind.SPAN_WAY, way)})

    monkeypatch.setattr(rows.Known, "is_new_id", is_new)
    monkeypatch.setattr(rows, "fetch", noted)
    return found


def steps(count: int, trace: int) -> list[Json]:
    """A root and so many steps, each below the one before."""
    return [span(1, 0, trace=trace, name="root"), *chain(count, trace)]


def chain(count: int, trace: int) -> list[Json]:
    return [span(number, number - 1, trace=trace, name="step") for number in range(2, count + 2)]


def of_trace(trace: int, spans: list[Json]) -> list[Json]:
    return [one | {"traceId": f"{trace:032x}"} for one in spans]


async def rows_of(rig: Rig) -> list[RunRow]:
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    return (await rig.store.rows(rig.org)).runs


async def test_calls_below_a_deep_chain_cost_what_the_chain_and_the_calls_do(rig: Rig, work: Counter[str]) -> None:
    """Neither depth times calls, nor depth times depth: the way up is gone once."""
    costs: dict[tuple[int, int], Counter[str]] = {}
    for trace, (depth, calls) in enumerate([(30, 40), (60, 40), (120, 40), (120, 160)], 1):
        await send(rig, rig.principal, *steps(depth, trace))
        rig.engine.forget()
        work.clear()
        below = [chat(CALLS_AT + number, depth + 1, 1) for number in range(calls)]
        await send(rig, rig.principal, *of_trace(trace, below))
        costs[depth, calls] = Counter(work)
    assert rig.engine.figures()["reloads"] == 0
    for kind in ("ids", "keys"):
        assert costs[120, 40][kind] <= 2.5 * costs[60, 40][kind] <= 6.25 * costs[30, 40][kind], (kind, costs)
        assert costs[120, 160][kind] <= 4.5 * costs[120, 40][kind], (kind, costs)
    assert costs[120, 160]["questions"] <= costs[120, 40]["questions"] + 4 <= 12, costs
    assert costs[120, 160]["ids"] <= 160 * 40 + 120 * 40, costs
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == 40 * 3 + 160


async def test_calls_at_all_heights_of_a_chain_go_up_it_once(rig: Rig, work: Counter[str]) -> None:
    """Each begins at another span, and what is above that has been looked for by the others."""
    await send(rig, rig.principal, *steps(120, 1))
    rig.engine.forget()
    work.clear()
    await send(rig, rig.principal, *(chat(CALLS_AT + height, height, 1) for height in range(2, 122)))
    assert work["keys"] <= 120 * 12, work
    assert work["ids"] <= 120 * 40, work
    assert work["questions"] <= 8, work
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == 120


async def test_many_runs_of_a_trace_do_not_multiply_the_way_up(rig: Rig, work: Counter[str]) -> None:
    roots = [span(CALLS_AT + number, 0, name="root") for number in range(MAX_TRACE_RUNS)]
    await send(rig, rig.principal, *roots)
    await send(rig, rig.principal, *(one | {"name": "s"} for one in chain(MAX_SPANS_ABOVE, 1)))
    rig.engine.forget()
    work.clear()
    await send(rig, rig.principal, chat(CALLS_AT + 1000, MAX_SPANS_ABOVE + 1, 1))
    assert work["keys"] <= 3 * MAX_LOOKS_ABOVE + 6 * MAX_TRACE_RUNS, work
    assert work["ids"] <= 3 * (3 * MAX_LOOKS_ABOVE + 6 * MAX_TRACE_RUNS), work
    assert work["questions"] <= 8, work
    assert await forgets(rig)


async def forgets(rig: Rig) -> bool:
    return any("calls_forgotten" in row.usage_flags for row in await rows_of(rig))


@pytest.mark.parametrize("beyond", [0, 1])
async def test_a_call_counts_as_far_below_as_is_looked(rig: Rig, beyond: int) -> None:
    """With more above it it does not count, and its run says so."""
    depth = MAX_SPANS_ABOVE - 1 + beyond
    await send(rig, rig.principal, *steps(depth - 1, 1))
    await send(rig, rig.principal, chat(CALLS_AT, depth, 7))
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == (0 if beyond else 7)
    assert await forgets(rig) is bool(beyond)


def nested(count: int, *, first_is_inner: bool = False, **attributes: Any) -> list[Json]:
    """Calls each below the one before; `first_is_inner`: each above the one before, as they end."""
    if first_is_inner:
        return [chat(number, number + 1, 10, **attributes) for number in range(1, count + 1)]
    return [chat(number, number - 1, 10, **attributes) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ({}, {}),
        ({"first_is_inner": True}, {}),
        ({}, {"gen_ai__response__id": "r"}),
        ({"first_is_inner": True}, {"gen_ai__response__id": "r"}),
    ],
    ids=["outer first", "inner first", "outer first, one response", "inner first, one response"],
)
async def test_nested_calls_of_one_request_cost_what_they_are(
    rig: Rig, work: Counter[str], shape: dict[str, bool], named: dict[str, str]
) -> None:
    """Each is stored, no group is placed anew more than a few times, and twice as many cost twice as much."""
    costs: list[Counter[str]] = []
    for trace, count in ((1, 800), (2, 1600)):
        work.clear()
        reloads = rig.engine.figures()["reloads"]
        await send(rig, rig.principal, *of_trace(trace, nested(count, **shape, **named)))
        costs.append(Counter(work))
        assert rig.engine.figures()["reloads"] - reloads <= 2 * (count // 100 + 1)
    assert costs[1]["ids"] <= 3 * costs[0]["ids"], costs
    assert sum(row.last_seq for row in await rows_of(rig)) >= 2400


async def test_what_a_way_up_leads_to_is_loaded_at_once(rig: Rig, work: Counter[str]) -> None:
    """Every second span of a chain is stored, the others are of one request: each leads to a stored one."""
    length = 100
    await send(rig, rig.principal, *(span(n, n - 1, name="step") for n in range(1, length, 2)))
    rig.engine.forget()
    work.clear()
    below = [span(n, n - 1, name="step") for n in range(2, length + 1, 2)]
    await send(rig, rig.principal, *below, chat(CALLS_AT, length, 5))
    assert rig.engine.figures()["reloads"] <= 2
    assert work["questions"] <= 8, work
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == 5


async def test_a_way_that_turns_at_calls_of_one_response_is_one_question(rig: Rig, work: Counter[str]) -> None:
    """Below the second account of a response everything stands below the first, whatever is above it otherwise."""
    count, length, elsewhere = 8, 10, CALLS_AT - 1
    for first in range(1000 * count, 0, -1000):
        await send(rig, rig.principal, chat(first, elsewhere, 3, gen_ai__response__id=f"r{first + 1000}"))
        await send(rig, rig.principal, *(span(first + n, first + n - 1, name="step") for n in range(1, length)))
        await send(rig, rig.principal, chat(first + length, first + length - 1, 3, gen_ai__response__id=f"r{first}"))
    rig.engine.forget()
    work.clear()
    await send(rig, rig.principal, span(CALLS_AT, 1000 + length, name="step"), chat(CALLS_AT + 1, CALLS_AT, 50))
    assert work["questions"] <= 8, work
    [row] = await rows_of(rig)
    assert row.usage.input_tokens == 50


async def test_a_way_through_agents_takes_two_questions(rig: Rig, work: Counter[str]) -> None:
    """Each is a run of its own, which begins and ends and has no event under the id of its span."""
    depth = 20
    await send(rig, rig.principal, *(agent(n, n - 1, f"a{n}") for n in range(1, depth + 1)))
    rig.engine.forget()
    work.clear()
    await send(rig, rig.principal, chat(CALLS_AT, depth, 5))
    assert work["questions"] <= 9, work
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == 5


async def test_placing_asks_for_a_whole_way_where_none_was_foreseen(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, and in however many runs it may stand, the group is placed anew a few times."""
    await send(rig, rig.principal, *(span(CALLS_AT + number, 0, name="root") for number in range(8)))
    await send(rig, rig.principal, *chain(MAX_SPANS_ABOVE - 2, 1))
    rig.engine.forget()
    load = writer.load

    async def without_ways(unit: Any, known: Any, serving_ms: int, asking: Any, go: Any) -> int:
        def asked(needs: rows.Needs, one: Any) -> Any:
            done = one[0](needs, *one[1:])
            needs.ways.clear()
            return done

        return await load(unit, known, serving_ms, [(asked, one) for one in asking], go)

    monkeypatch.setattr(writer, "load", without_ways)
    await send(rig, rig.principal, *(chat(CALLS_AT + 100 + n, MAX_SPANS_ABOVE - 1 - n, 1) for n in range(12)))
    assert rig.engine.figures()["reloads"] <= 4
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == 12


def hostile(seed: int) -> list[list[Json]]:
    """Requests of a trace of calls, steps, tools and agents, of many roots or none, with few response ids."""
    rnd = random.Random(seed)
    size, roots, back = rnd.choice((40, 150, 300)), rnd.choice((1, 1, 5, 30, 70)), rnd.choice((1, 1, 2, 8, 1000))
    calls, responses = rnd.random(), rnd.choice((0, 1, 5))
    spans: list[Json] = []
    for number in range(1, size):
        parent = 0 if number <= roots else max(1, number - rnd.randint(1, back))
        if rnd.random() < 0.02:
            parent = rnd.randint(1, size + 20)
        kind = rnd.random()
        if kind < calls * 0.7:
            told = {}
            sent = rnd.randint(1, 9)
            if responses and rnd.random() < 0.7:
                told = {"gen_ai__response__id": f"r{rnd.randint(1, responses)}"}
            spans.append(chat(number, parent, sent, **told))
        elif kind < 0.75:
            spans.append(span(number, parent, name="s"))
        elif kind < 0.85:
            spans.append(span(number, parent, gen_ai__operation__name="execute_tool", gen_ai__tool__name="ls"))
        else:
            spans.append(agent(number, parent, f"a{number % 7}"))
    stripes = rnd.choice((1, 2, 3))
    spans = [one for first in range(stripes) for one in spans[first::stripes]]
    length = -(-len(spans) // rnd.choice((1, 2, 3, 6)))
    return [spans[at : at + length] for at in range(0, len(spans), length)]


@pytest.mark.parametrize("seed", range(24))
async def test_no_trace_has_a_group_placed_anew_often(rig: Rig, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands above what, and with nothing in the cache: also where calls are forgotten in the group itself."""
    rounds: list[int] = []
    missed = Turn.missed

    def noted(self: Turn, lacking: NotLoaded) -> list[NotLoaded]:
        rounds.append(self.rounds + 1)
        return missed(self, lacking)

    monkeypatch.setattr(Turn, "missed", noted)
    for spans in hostile(seed):
        rig.engine.forget()
        await rig.do(decode(traces(*spans)), dialect="otlp", principal=rig.principal)
    assert max(rounds, default=0) <= 5, rounds
    await rows_of(rig)


@pytest.mark.parametrize("seed", range(6))
async def test_deep_random_trees_count_as_by_the_rule(rig: Rig, seed: int) -> None:
    """In any order and any requests, against the rule by itself."""
    rnd = random.Random(seed)
    spans: list[Json] = [agent(1, 0, "lead")]
    calls = 0
    for number in range(2, 90):
        parent = max(1, number - rnd.choice((1, 1, 1, 1, 2, 5)))
        is_call = rnd.random() < 0.2 and calls < 14
        calls += is_call
        spans.append(chat(number, parent, rnd.randint(1, 60)) if is_call else span(number, parent, name="step"))
    expected = sum(by_the_rule(spans))
    sent = [*spans, *rnd.sample(spans, 20)]
    if seed % 3:
        rnd.shuffle(sent)
    while sent:
        count = rnd.randint(1, 25)
        await send(rig, rig.principal, *sent[:count])
        sent = sent[count:]
        if rnd.random() < 0.3:
            rig.engine.forget()
    found = [row.usage for row in await rows_of(rig)]
    assert sum((one.input_tokens or 0) + (one.output_tokens or 0) for one in found) == expected


async def test_chains_of_many_traces_are_looked_up_a_few_at_a_time(rig: Rig, work: Counter[str]) -> None:
    """Each commit reads a bounded number of spans, whichever request, and another organisation's come between them."""
    depth, count = 100, 60
    for trace in range(1, count + 1):
        await send(rig, rig.principal, *of_trace(trace, steps(depth, trace)))
    other = await rig.make_org("other")
    rig.engine.forget()
    commits: list[tuple[set[str], int]] = []
    committed = rig.engine._writer._committed

    def noted(commit: Any) -> None:
        commits.append(({event.dialect for event in commit.events}, work["keys"] + work["spans"]))
        committed(commit)

    rig.engine._writer._committed = noted
    work.clear()
    below = [one for trace in range(1, count + 1) for one in of_trace(trace, [chat(CALLS_AT, depth + 1, 1)])]
    large = asyncio.ensure_future(send(rig, rig.principal, *below))
    await wait_until_async(lambda: bool(commits), "the first part")
    while not large.done():
        await rig.do(Append("steps", [draft(run=traced("x"))]), principal=other)
    await large
    spent = [keys - before for (_, before), (_, keys) in pairwise([(set(), 0), *commits])]
    assert max(spent) <= 2500, spent
    dialects = [told for told, _ in commits]
    begun = next(at for at, told in enumerate(dialects) if "steps" in told)
    assert not any(one == after == {"otlp"} for one, after in pairwise(dialects[begun:])), "each waits for one part"
    assert sum("otlp" in told for told in dialects[begun:]) >= 2, dialects
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == count


async def test_reading_what_is_above_a_call_is_work_of_its_organisation(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests below chains wait longer for their next turn, by what was read."""
    for trace in range(1, 4):
        await send(rig, rig.principal, *of_trace(trace, steps(100, trace)))
    rig.engine.forget()
    charged: list[tuple[int, int]] = []
    monkeypatch.setattr(rig.engine._writer._queue, "charge", lambda org, more: charged.append((org, more)))
    await send(rig, rig.principal, *(of_trace(trace, [chat(CALLS_AT, 101, 1)])[0] for trace in range(1, 4)))
    assert [org for org, _ in charged] == [rig.org]
    assert 3 * 100 * WORK_OF_SPAN <= charged[0][1] <= 3 * 104 * WORK_OF_SPAN


async def test_a_chain_is_read_once_however_many_groups_its_calls_take(rig: Rig, work: Counter[str]) -> None:
    """What is above a stored span does not change: the writer remembers it from one commit to the next."""
    for trace in range(1, 5):
        await send(rig, rig.principal, *of_trace(trace, steps(100, trace)))
    rig.engine.forget()
    costs = []
    for first in (0, 40):
        work.clear()
        for trace in range(1, 5):
            below = [chat(CALLS_AT + first + number, 101, 1) for number in range(10)]
            await send(rig, rig.principal, *of_trace(trace, below))
        costs.append(work["spans"])
    assert costs[1] <= 4 < 400 <= costs[0], costs  # what a root says of what is above it is read again
    assert sum(row.usage.input_tokens or 0 for row in await rows_of(rig)) == 80


async def test_chains_that_are_remembered_are_no_work_to_look_for(rig: Rig) -> None:
    """Calls below many of them are of one commit, where those below as many cold ones are of several."""
    depth, count, commits = 100, 20, [0]
    for trace in range(1, count + 1):
        await send(rig, rig.principal, *of_trace(trace, steps(depth, trace)))
    rig.engine.forget()
    committed = rig.engine._writer._committed

    def noted(commit: Any) -> None:
        commits[-1] += 1
        committed(commit)

    rig.engine._writer._committed = noted
    for first in (0, 1):
        below = [of_trace(trace, [chat(CALLS_AT + first, depth + 1, 1)])[0] for trace in range(1, count + 1)]
        await send(rig, rig.principal, *below)
        commits.append(0)
    assert commits[0] > commits[1] == 1
