"""What goes out of a run adds up to what the run has spent, in any order: as spans, and as lines of feeds."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.projections.test_computed_costs import tell
from tests.projections.test_told_totals import CALLS, END, PRICES, Telling, call, calls, total
from tests.support.calls import endpoint_of, make_call
from tests.support.factories import facts_of
from tests.support.otlp import span, traces
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.dialects.activity.feed import feed_event
from towerlog.dialects.native import NATIVE
from towerlog.dialects.otlp.dialect import DIALECT as OTLP
from towerlog.dialects.views.otlp_protobuf import request_of
from towerlog.engine.timers.forwarding.spans import spans_between
from towerlog.model import span_figures
from towerlog.model.event import Draft, EventType, RunById
from towerlog.model.usage import Usage, UsageReport

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without a search for the smallest story, each of which takes a while."""
FIGURES = 7
"""Tokens and the cost."""
COST, UNPRICED = "towerlog.cost_usd", "towerlog.unpriced_calls"
FREE = {COST: {"doubleValue": 0.0}}
IDS = {"traceId", "spanId", "parentSpanId"}
Way = Callable[[Rig, str], Awaitable[list[bytes]]]


def end(agent: str = "a", kind: EventType = EventType.RUN_COMPLETED, **figures: int) -> Telling:
    """An end that tells what its run has spent."""
    return {"agent": agent, "kind": kind, "report": UsageReport(Usage(**figures), whole_run=True, inclusive=True)}


async def asked_for(rig: Rig, run_id: str, limit: int = 1000) -> list[bytes]:
    """A run as requests of OTLP, page by page."""
    endpoint = endpoint_of(NATIVE, "GET", "/api/v1/runs/{run_id}/otlp")
    found: list[bytes] = []
    query = {"limit": str(limit)}
    while True:
        asked = make_call(query=query, run_id=run_id)
        command = endpoint.decode(asked)
        reply = endpoint.encode(await rig.do(command), command, asked)
        found.append(bytes(reply.body))
        links = [value.decode() for name, value in reply.headers if name == b"link"]
        if not links:
            return found
        query["after_seq"] = links[0].partition("after_seq=")[2].partition("&")[0]


async def in_pages(rig: Rig, run_id: str) -> list[bytes]:
    """The same of a run that is too long for one reply."""
    return await asked_for(rig, run_id, 2)


async def forwarded(rig: Rig, run_id: str) -> list[bytes]:
    """The same, as a collector is sent it."""
    return [await spans_of(rig, run_id, 0, 1_000_000)]


async def spans_of(rig: Rig, run_id: str, after: int, until: int) -> bytes:
    """What of a run is forwarded in a stretch of the log."""
    found: list[bytes] = []
    async for page in spans_between(rig.store, await rig.run(run_id), after, until, lambda lost: None):
        found += page
    sent = MessageToDict(ExportTraceServiceRequest.FromString(request_of("o", found)), use_integers_for_enums=True)
    for scope in sent["resourceSpans"][0]["scopeSpans"]:
        for one in scope["spans"]:
            one.update({name: base64.b64decode(one[name]).hex() for name in IDS & one.keys()})
    return json.dumps(sent).encode()


async def shown(rig: Rig) -> list[int]:
    """The sums of the lines of all feeds: all input, all output, the cost."""
    lines = [feed_event(event, "e") for event in await rig.log()]
    told = [json.loads(msgspec.json.encode(line))["metadata"] for line in lines if line is not None]
    names = ("input_tokens", "output_tokens", "cost_usd")
    tokens, written, cost = (sum(one.get(name) or 0 for one in told) for name in names)
    return [tokens, written, round(cost * 1_000_000_000)]


async def added_up(rig: Rig, bodies: list[bytes]) -> list[int]:
    """What another organisation has spent that takes in such requests."""
    kept = rig.principal
    rig.principal = await rig.make_org(rig.ids.uuid())
    endpoint = endpoint_of(OTLP, "POST", "/v1/traces")
    for body in bodies:
        if any(scope["spans"] for one in json.loads(body)["resourceSpans"] for scope in one["scopeSpans"]):
            await rig.do(endpoint.decode(make_call(body)), dialect="otlp")
    found = sums((await rig.store.rows(rig.org)).runs)
    rig.principal = kept
    return found


def costs_of(bodies: list[bytes]) -> tuple[int, int]:
    """The cost that spans tell, and of how many calls they say that nobody knows it: each span with tokens does one."""
    nanos = calls = 0
    for told in (one for body in bodies for one in attributes_in(body)):
        tokens = int(told.get("gen_ai.usage.total_tokens", {}).get("intValue", 0))
        cost, unknown = told.get(COST), told.get(UNPRICED)
        assert not tokens or (cost is None) is not (unknown is None), told
        nanos += round((cost or {}).get("doubleValue", 0) * 1_000_000_000)
        calls += int((unknown or {}).get("intValue", 0))
    return nanos, calls


def attributes_in(body: bytes) -> list[dict[str, Any]]:
    """Of each span."""
    scopes = json.loads(body)["resourceSpans"][0]["scopeSpans"]
    return [{one["key"]: one["value"] for one in told["attributes"]} for scope in scopes for told in scope["spans"]]


def sums(runs: Any) -> list[int]:
    return [sum(figures) for figures in zip([0] * FIGURES, *(known(run.usage) for run in runs), strict=True)]


def known(usage: Usage) -> list[int]:
    return [figure or 0 for figure in astuple(usage)[:FIGURES]]


async def check(rig: Rig, story: list[Telling], way: Way) -> None:
    rig.principal = await rig.make_org(rig.ids.uuid())
    for telling in story:
        await tell(rig, **telling)
    [row] = (await rig.store.rows(rig.org)).runs
    usage = row.usage
    # What nobody has priced here goes out without a cost, and who takes it in may know one.
    counted = slice(FIGURES - 1 if usage.unpriced_calls else FIGURES)
    bodies = await way(rig, row.run_id)
    assert (await added_up(rig, bodies))[counted] == known(usage)[counted], story
    nanos, unknown = costs_of(bodies)
    assert nanos == (usage.cost_nanos or 0), story
    # Less where calls have told since what was unknown.
    assert unknown <= (usage.unpriced_calls or 0), story
    sides = [usage.all_input_tokens() or 0, usage.all_output_tokens() or 0, usage.cost_nanos or 0]
    assert await shown(rig) == sides, story


def turn(*told: Any, **more: Any) -> Telling:
    """A total that a checkpoint tells."""
    return {**total(*told, **more), "kind": EventType.CHECKPOINT}


LAST = {**END, "kind": EventType.RUN_COMPLETED}
STORIES = {
    "calls": CALLS,
    "the end first": [LAST, *CALLS],
    "the end between": [CALLS[0], LAST, CALLS[1]],
    "more in the end": [*CALLS, turn("big", 9000, 900, whole_run=True)],
    "a cost that is lower": [*CALLS, end(cost_nanos=1000)],
    "a lower cost first": [end(cost_nanos=1000), *CALLS],
    "a cost that is higher": [*CALLS, end(cost_nanos=10**6)],
    "a cost of nothing": [*CALLS, end(cost_nanos=0)],
    "a cost and tokens": [CALLS[0], end(input_tokens=9000, output_tokens=5, cost_nanos=77), CALLS[1]],
    "a cost of calls without a price": [call("unheard-of", 5, 0, 0, 5), end(cost_nanos=9)],
    "no price": [call("unheard-of", 5, 0, 0, 5), turn("unheard-of", 50, 50)],
    "totals in another proportion": [
        turn("big", 231, 260, whole_run=True),
        turn("big", 94, 262),
        call("big", 6, 28, 19, 9),
        end(cost_nanos=19_511),
        turn("big", 334, 378, whole_run=True),
        call("big", 38, 1, 29, 20, agent="b"),
    ],
    "a total without a split": [
        {"agent": "a", "kind": EventType.CHECKPOINT, "report": UsageReport(Usage(total_tokens=153))},
        turn("big", 29, 124),
    ],
    "calls without a split": [
        {"agent": "a", "model": "big", "report": UsageReport(Usage(20, total_tokens=100), "delta")},
        turn("big", 60, 40),
    ],
    "a cost that is told at last": [
        call("unheard-of", 5, 0, 0, 5),
        turn("small", 50, 50, "b"),
        turn("big", 215, 100, whole_run=True),
        end(cost_nanos=11_763),
    ],
    "totals of two agents": [turn("big", 100, 10), turn("small", 50, 5, "b"), call("small", 40, 10, 0, 5, agent="b")],
    "a cost of an agent": [
        *CALLS,
        {"agent": "a", "kind": EventType.CHECKPOINT, "report": UsageReport(Usage(cost_nanos=5))},
    ],
}


@table("way", [asked_for, in_pages, forwarded])
@table("name", STORIES)
async def test_spans_of_a_run_add_up_to_what_it_has_spent(tmp_path: Path, name: str, way: Way) -> None:
    async with open_rig(tmp_path / f"{name} {way.__name__}", prices=PRICES) as rig:
        await check(rig, STORIES[name], way)


some = st.integers(0, 400)
perhaps = st.one_of(st.none(), some)
costs = st.integers(0, 20_000)
agents, models = st.sampled_from("ab"), st.sampled_from(["big", "small", "unheard-of", None])
tokens = st.builds(Usage, perhaps, perhaps, perhaps, perhaps, perhaps, perhaps, st.one_of(st.none(), st.none(), costs))
"""Also more tokens than the split of them, or fewer."""


def reported(usage: Usage, kind: Any, agent: str, model: str | None, whole_run: bool, inclusive: bool) -> Telling:
    """What a checkpoint or a call may tell, whatever it is."""
    report = UsageReport(usage, kind, whole_run and kind == "total", inclusive=inclusive and kind == "total")
    event = EventType.MODEL_CALL if kind == "delta" else EventType.CHECKPOINT
    return {"agent": agent, "model": model, "report": report, "kind": event}


def of_process(cost: int) -> Telling:
    report = UsageReport(Usage(cost_nanos=cost), process_cost=True)
    return {"agent": "a", "kind": EventType.CHECKPOINT, "report": report}


kinds = st.sampled_from(["total", "delta", "turn"])
totals = st.one_of(
    st.builds(turn, st.just("big"), some, some, agents),
    st.builds(turn, st.just("big"), some, some, whole_run=st.just(True)),
    st.builds(lambda agent, cost: end(agent, cost_nanos=cost), agents, costs),
    st.builds(reported, tokens, kinds, agents, models, st.booleans(), st.booleans()),
    st.builds(of_process, costs),
)
stories = st.lists(st.one_of(calls, totals), min_size=1, max_size=8)
"""Any calls and any totals, which take from each other."""


@given(story=stories)
@settings(max_examples=60, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spans_of_any_run_add_up_to_what_it_has_spent(tmp_path: Path, story: list[Telling]) -> None:
    async def told() -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            async with open_rig(Path(folder), prices=PRICES) as rig:
                await check(rig, story, asked_for)

    asyncio.run(told())


@pytest.mark.parametrize("way", [asked_for, in_pages, forwarded])
async def test_spans_of_a_long_run_add_up_though_few_events_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    monkeypatch.setattr(span_figures, "MAX_FIGURE_BYTES", 5 * span_figures.ENTRY_BYTES)
    told = [[turn("big", 1000 * at, 100 * at), call("big", 400, 600, 0, 100)] for at in range(1, 13)]
    async with open_rig(tmp_path, prices=PRICES) as rig:
        await check(rig, [one for two in told for one in two], way)


@pytest.mark.parametrize(
    ("told", "marks"),
    [([], [{UNPRICED: {"intValue": "1"}}]), ([end(cost_nanos=9)], [FREE, {COST: {"doubleValue": 9e-9}}])],
    ids=["unknown", "told"],
)
async def test_a_span_of_another_tracer_says_that_nobody_knows_its_cost(
    tmp_path: Path, told: list[Telling], marks: list[dict[str, Any]]
) -> None:
    """Until somebody tells what the run has cost, of which such a call is a part."""
    figures = {"gen_ai.request.model": "unheard-of", "gen_ai.usage.input_tokens": 5, "gen_ai.operation.name": "chat"}
    body = json.dumps(traces(span(1, **figures))).encode()
    async with open_rig(tmp_path, prices=PRICES) as rig:
        await rig.do(endpoint_of(OTLP, "POST", "/v1/traces").decode(make_call(body)), dialect="otlp")
        [row] = (await rig.store.rows(rig.org)).runs
        for one in told:
            facts = facts_of(report=one["report"])
            await rig.append(Draft(EventType.CHECKPOINT, RunById(row.run_id), b"{}", facts, agent="a"))
        spans = [one for body in await asked_for(rig, row.run_id) for one in attributes_in(body)]
    found = [{name: one[name] for name in (COST, UNPRICED) if name in one} for one in spans]
    assert [one for one in found if one] == marks


async def test_what_comes_late_is_not_forwarded_beside_the_total_that_was(tmp_path: Path) -> None:
    """A total that has gone out stands; the calls that it is of are told without the tokens that are in it."""
    async with open_rig(tmp_path, prices=PRICES) as rig:
        await tell(rig, **LAST)
        [row] = (await rig.store.rows(rig.org)).runs
        first = await spans_of(rig, row.run_id, 0, (await rig.log())[-1].position)
        until = (await rig.log())[-1].position
        for telling in CALLS:
            await tell(rig, **telling)
        second = await spans_of(rig, row.run_id, until, (await rig.log())[-1].position)
        assert len(json.loads(second)["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 2
        usage = Usage(*(await added_up(rig, [first, second]))[:FIGURES])
    assert (usage.all_input_tokens(), usage.all_output_tokens(), usage.total_tokens) == (3050, 300, 3350)
