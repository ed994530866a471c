"""Many rules times many events: what is left for later groups is looked up once, and each rule fires once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.engine.alerts.alerting import DOLLAR, HOOK, MINUTE, calling, failure, make, spending, start
from tests.support.rig import DIALECT, Rig
from towerlog.engine.commit.submission import Submission
from towerlog.engine.commit.turn import MIN_PORTION
from towerlog.engine.commit.writer import Writer
from towerlog.engine.load.misses import MAX_ALERTS_ASKED
from towerlog.engine.load.rows import Known
from towerlog.model import command as c
from towerlog.model.alert import AlertConfig, AlertTrigger
from towerlog.model.event import Draft
from towerlog.store.values import Kind, Loaded

RULES, RUNS = 20, 60
TRIGGERS = {
    AlertTrigger.ERROR: (AlertConfig(), failure),
    AlertTrigger.COST_THRESHOLD: (AlertConfig(amount_nanos=DOLLAR), lambda trace: spending(trace, DOLLAR)),
    AlertTrigger.LOOP: (AlertConfig(), lambda trace: calling(trace, "t", 1)),
}


class Loads:
    """How many keys of each kind were looked up, and how many alerts at once at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: Counter[Kind] = Counter()
        self.most = 0
        absorb = Known.absorb

        def counted(known: Known, wanted: dict[Kind, list[Any]], found: Loaded) -> None:
            self.keys.update({kind: len(keys) for kind, keys in wanted.items()})
            self.most = max(self.most, len(wanted.get(Kind.ALERT, ())))
            absorb(known, wanted, found)

        monkeypatch.setattr(Known, "absorb", counted)


@pytest.fixture(params=["one writer", "many nodes"])
def loads(rig: Rig, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Of a writer that keeps what it has read, and of one that has to read it anew with each group."""
    if request.param == "many nodes":
        write = Writer._write

        async def forgetful(self: Writer, group: list[Submission]) -> None:
            rig.engine.forget()
            await write(self, group)

        monkeypatch.setattr(Writer, "_write", forgetful)
    return Loads(monkeypatch)


async def prepared(rig: Rig, trigger: AlertTrigger, **given: Any) -> list[Draft]:
    """Rules, runs that have begun, and one event of each run that all rules are about."""
    config, event = TRIGGERS[trigger]
    for _ in range(RULES):
        await make(rig, trigger, config=config, **given)
    traces = [f"z{number}" for number in range(RUNS)]
    await rig.append(*[start(trace) for trace in traces])
    if trigger is AlertTrigger.LOOP:
        for _ in range(2):
            await rig.append(*[calling(trace, "t", 1) for trace in traces])
    return [event(trace) for trace in traces]


async def fired(rig: Rig) -> Counter[tuple[str, str]]:
    """(rule, run) → how many alerts."""
    found = await rig.store.alerts(rig.org, 100_000, None, None, None)
    return Counter((one.rule_id, one.subject) for one in found)


@pytest.mark.parametrize("channels", [(), (HOOK,)])
@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_a_batch_is_looked_up_once(rig: Rig, loads: Loads, trigger: AlertTrigger, channels: Any) -> None:
    events = await prepared(rig, trigger, channels=channels)
    loads.keys.clear()
    await rig.append(*events)
    found = await fired(rig)
    assert len(found) == RULES * RUNS
    assert set(found.values()) == {1}
    assert loads.keys[Kind.ALERT] <= 2.5 * RULES * RUNS
    assert loads.most <= MAX_ALERTS_ASKED + RULES
    others = {kind: count for kind, count in loads.keys.items() if kind is not Kind.ALERT}
    assert max(others.values(), default=0) <= MIN_PORTION * RULES * RUNS / MAX_ALERTS_ASKED + 2 * RUNS, others


@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_commands_that_come_together_keep_their_order(rig: Rig, loads: Loads, trigger: AlertTrigger) -> None:
    events = await prepared(rig, trigger, channels=())
    loads.keys.clear()
    stored = await asyncio.gather(*[rig.do(c.Append(DIALECT, [event])) for event in events])
    positions = [one.results[0].position for one in stored]
    assert positions == sorted(positions)
    found = await fired(rig)
    assert len(found) == RULES * RUNS
    assert set(found.values()) == {1}
    assert loads.keys[Kind.ALERT] <= 2.5 * RULES * RUNS
    assert loads.most <= MAX_ALERTS_ASKED + RULES


@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_rules_that_keep_quiet_are_looked_up_in_turns_as_well(
    rig: Rig, loads: Loads, trigger: AlertTrigger
) -> None:
    events = await prepared(rig, trigger, channels=(), cooldown_ms=60 * MINUTE)
    loads.keys.clear()
    await rig.append(*events)
    assert len(await fired(rig)) == RULES, "each has told of one run, and then keeps quiet"
    assert sum(rule.suppressed for rule in await rig.store.alert_rules(rig.org, 100, None)) == RULES * (RUNS - 1)
    assert loads.keys[Kind.ALERT] <= 2.5 * RULES * RUNS
    assert loads.most <= MAX_ALERTS_ASKED + RULES


async def test_a_batch_that_comes_again_looks_no_alert_up(rig: Rig, loads: Loads) -> None:
    await prepared(rig, AlertTrigger.ERROR, channels=())
    again = [failure(f"z{number}", event_id=f"e{number}") for number in range(RUNS)]
    await rig.append(*again)
    loads.keys.clear()
    results = await rig.append(*again)
    assert all(getattr(one, "duplicate", False) for one in results)
    assert loads.keys[Kind.ALERT] == 0
    assert len(await fired(rig)) == RULES * RUNS


async def test_another_organisation_comes_between_any_two_groups(rig: Rig) -> None:
    """Its small command waits for the group under way and for nothing else."""
    events = await prepared(rig, AlertTrigger.ERROR, channels=())
    other = await rig.make_org("beside")
    flood = asyncio.create_task(rig.do(c.Append(DIALECT, events)))
    waited: list[int] = []
    while not flood.done():
        await asyncio.sleep(0)
        before = rig.engine.figures()["groups"]
        await rig.do(c.Append(DIALECT, [start(f"n{len(waited)}")]), principal=other)
        waited.append(int(rig.engine.figures()["groups"] - before))
    assert len(waited) > 3
    assert max(waited) <= 2
