"""Accounts of one response in several traces: a client library that traces itself, a gateway that exports as well. The
response counts once in its organisation, in whichever order and requests they come."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.engine.ingest.test_spans import agent, chat, send, sums, with_budgets
from tests.support.otlp import Json, span
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from towerlog.model.span import RESPONSE_WINDOW_MS

RESPONSE = "msg_791e49b8c0a24f6b"
CALLED: dict[str, Any] = {"gen_ai__response__id": RESPONSE}
ONCE = (30, 1, 31, 60_001, 60_001)
"""Input, output, all tokens, what they cost, and what of that was computed."""


def told() -> list[Json]:
    """An agent whose framework tells of its call, and the span of the client itself in a trace of its own."""
    return [agent(1, 0, "lead"), chat(2, 1, 30, **CALLED), chat(11, 0, 30, trace=2, **CALLED)]


def prices() -> FixedPrices:
    return FixedPrices({"m1": card(2_000, 1, 1, 1, 1)})


async def test_a_response_counts_once_in_the_trace_that_says_more_of_it(tmp_path: Path) -> None:
    """In any order, in one request and in one for each span."""
    failed = []
    async with open_rig(tmp_path, prices=prices()) as rig:
        for number, spans in enumerate(itertools.permutations(told())):
            for is_one in (True, False):
                who = await with_budgets(rig, f"order {number} {is_one}")
                for request in [spans] if is_one else [[one] for one in spans]:
                    await send(rig, who, *request)
                found = await sums(rig, who)
                budgets = found["budgets"]
                shown = found["all"], found["agents"], found["trees"], budgets.get("lead"), budgets.get("weather", 0)
                if shown != (ONCE, {"lead": ONCE}, {"lead": ONCE}, 60_001, 0):
                    failed.append((number, is_one, shown))
    assert failed == []


async def test_a_response_is_known_after_a_restart_and_a_repeat_adds_nothing(tmp_path: Path) -> None:
    first, call, other = told()
    async with open_rig(tmp_path) as rig:
        await send(rig, rig.principal, other)
    async with open_rig(tmp_path) as rig:
        for _ in range(2):
            await send(rig, rig.principal, first, call)
            await send(rig, rig.principal, other)
        assert (await sums(rig, rig.principal))["all"] == (30, 1, 31, 0, 0)


async def test_what_stands_above_a_response_that_counts_elsewhere_counts_what_exceeds_it(rig: Rig) -> None:
    """A gateway tells of a call first, whose framework has a sum above it."""
    gateway = [agent(11, 0, "scout") | {"traceId": f"{2:032x}"}, chat(12, 11, 30, trace=2, **CALLED)]
    failed = []
    for number, inner in enumerate(itertools.permutations((chat(2, 1, 37), chat(3, 2, 30, **CALLED)))):
        who = await rig.make_org(f"above {number}")
        await send(rig, who, *gateway)
        for one in inner:
            await send(rig, who, one)
        found = (await sums(rig, who))["all"]
        if found[0] != 37:
            failed.append((number, found))
    assert failed == []


async def test_a_third_account_counts_no_more_than_the_second(rig: Rig) -> None:
    third = [agent(21, 0, "critic") | {"traceId": f"{3:032x}"}, chat(22, 21, 30, trace=3, **CALLED)]
    for number, spans in enumerate(itertools.permutations((told()[:2], told()[2:], third))):
        who = await rig.make_org(f"third {number}")
        for request in spans:
            await send(rig, who, *request)
        assert (await sums(rig, who))["all"] == (30, 1, 31, 0, 0), number


async def test_what_may_be_another_response_counts_for_itself(rig: Rig) -> None:
    def at(one: Json, ms: int) -> Json:
        return one | {name: str(ms * 1_000_000) for name in ("startTimeUnixNano", "endTimeUnixNano")}

    now, then = rig.clock.now_ms(), rig.clock.now_ms() - RESPONSE_WINDOW_MS - 1
    ids = ("resp-1", "response-0000000001", "chatcmpl-123456789012345", "xxxxxxxxxxxxxxxxxxxxxxxx", "msg_aaaabbbb")
    cases: dict[str, list[Json]] = {one: [chat(2, 1, 30, gen_ai__response__id=one)] for one in ids}
    cases = {
        name: [*spans, spans[0] | {"traceId": f"{2:032x}", "spanId": f"{11:016x}"}] for name, spans in cases.items()
    }
    cases["long before"] = [at(told()[1], then), at(told()[2], now)]
    found = {}
    for name, spans in cases.items():
        who = await rig.make_org(name[:20])
        for one in spans:
            await send(rig, who, one)
        found[name] = (await sums(rig, who))["all"]
    assert found == dict.fromkeys(cases, (60, 2, 62, 0, 0))


async def test_another_organisation_has_its_own(rig: Rig) -> None:
    _, call, other = told()
    for spans, name in ((call, "one"), (other, "another")):
        who = await rig.make_org(name)
        await send(rig, who, spans)
        assert (await sums(rig, who))["all"] == (30, 1, 31, 0, 0)


@pytest.mark.parametrize("where", ["llm_output", "generations"])
async def test_langchain_tells_the_response_in_its_output(rig: Rig, where: str) -> None:
    """OpenInference keeps LangChain's result as JSON."""
    output = f'{{"generations": [], "llm_output": {{"id": "{RESPONSE}"}}}}'
    if where == "generations":
        message = f'{{"kwargs": {{"id": "lc_run--1", "response_metadata": {{"id": "{RESPONSE}"}}}}}}'
        output = f'{{"generations": [[{{"text": "hi", "message": {message}}}]], "llm_output": null}}'
    figures: dict[str, Any] = {"llm__token_count__prompt": 30, "llm__token_count__completion": 1}
    framework = span(2, 1, openinference__span__kind="LLM", output__value=output, llm__model_name="m1", **figures)
    await send(rig, rig.principal, told()[2])
    await send(rig, rig.principal, agent(1, 0, "lead"), framework)
    found = await sums(rig, rig.principal)
    assert (found["all"], found["agents"]) == ((30, 1, 31, 0, 0), {"lead": (30, 1, 31, 0, 0)})


async def test_an_account_without_figures_leaves_room_for_one_that_has_them(rig: Rig) -> None:
    silent = span(2, 1, gen_ai__operation__name="chat", gen_ai__request__model="m1", **CALLED)
    spans = [silent, chat(3, 1, 30, **CALLED)]
    for number, requests in enumerate(([spans], [[one] for one in spans], [[one] for one in reversed(spans)])):
        who = await rig.make_org(f"silent {number}")
        for request in requests:
            await send(rig, who, *request)
        assert (await sums(rig, who))["all"] == (30, 1, 31, 0, 0), number


@pytest.mark.parametrize("agents_first", [True, False], ids=["agents first", "clients first"])
async def test_very_many_accounts_in_one_request_are_all_held_against_the_others(rig: Rig, agents_first: bool) -> None:
    """What they lack is loaded together: placing is begun again a few times, and not once for each of them."""
    many = 150
    ids = [f"msg_{number:04d}e49b8c0a24f6b" for number in range(many)]
    agents = [agent(1, 0, "lead")] + [chat(10 + n, 1, 30, gen_ai__response__id=one) for n, one in enumerate(ids)]
    clients = [chat(1000 + n, 0, 30, trace=2 + n, gen_ai__response__id=one) for n, one in enumerate(ids)]
    for spans in (agents, clients) if agents_first else (clients, agents):
        rig.engine.forget()
        before = rig.engine.figures()["reloads"]
        await send(rig, rig.principal, *spans)
        assert rig.engine.figures()["reloads"] - before <= 4
    assert (await sums(rig, rig.principal))["all"][0] == 30 * many
