"""An alert by time ends by what shows that it is over, and never because the server begins to hear anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.alerts.alerting import MINUTE, alerts, deliveries, make, start
from tests.support.factories import draft, traced
from tests.support.rig import Rig, at_rest, open_rig
from towerlog.model.alert import (
    AlertConfig,
    AlertScope,
    AlertState,
    AlertTrigger,
    ChangeRule,
    CreateRule,
    GetRule,
)
from towerlog.model.alert_preview import PreviewRule
from towerlog.model.command import CancelRun, Claim, CreateRun, GiveInput
from towerlog.model.delivery import NoticeKind
from towerlog.model.event import EventType
from towerlog.model.facts import Facts
from towerlog.model.question import RunFilter
from towerlog.store.values import Changes

FIRED, REPEATED, RECOVERED = NoticeKind.FIRED, NoticeKind.REPEATED, NoticeKind.RECOVERED
OF_RUNS = (AlertTrigger.STALLED, AlertTrigger.UNSERVED, AlertTrigger.QUEUE_WAIT, AlertTrigger.WAITING_TOO_LONG)
WAIT = AlertConfig(wait_ms=MINUTE)


def asking(trace: str) -> Any:
    return draft(EventType.RUN_WAITING, traced(trace), facts=Facts(question="which one?"), agent="writer")


async def begins(rig: Rig, trigger: AlertTrigger, *traces: str) -> None:
    """Runs that a rule of this trigger is about once they have lasted."""
    for trace in traces:
        if trigger is AlertTrigger.STALLED:
            await rig.append(start(trace))
        elif trigger is AlertTrigger.WAITING_TOO_LONG:
            await rig.append(asking(trace))
        else:
            await rig.do(CreateRun(trace, agent="writer"))


async def goes_on(rig: Rig, trigger: AlertTrigger, trace: str) -> None:
    """What shows that it is over."""
    if trigger is AlertTrigger.STALLED:
        await rig.append(draft(EventType.STEP, traced(trace), agent="writer"))
    elif trigger is AlertTrigger.WAITING_TOO_LONG:
        [row] = await rig.store.runs(rig.org, RunFilter(), 1, None)
        await rig.do(GiveInput(row.run_id, "that one"))
    else:
        assert (await rig.do(Claim("w", 60 * MINUTE, ("writer",)))).lane


async def passes(rig: Rig, ms: int) -> None:
    """Time in which nobody says anything, a second at a time."""
    for _ in range(ms // 1000):
        rig.clock.advance(1000)
        await rig.engine.sweep()


@asynccontextmanager
async def restarted(folder: Path, rig: Rig, *, down_ms: int = 11_000, set_by_ms: int = 0) -> AsyncIterator[Rig]:
    """Another process on the same store, after a while; the wall clock may be set meanwhile."""
    rig.clock.advance(down_ms)
    rig.clock.jump(set_by_ms)
    rig.clock.restart()
    async with open_rig(folder, clock=rig.clock, ids=rig.ids) as other:
        yield other


async def said(rig: Rig) -> list[NoticeKind]:
    return [one.kind for one in await deliveries(rig)]


async def seen(rig: Rig) -> list[tuple[int, AlertState]]:
    return [(one.episode, one.state) for one in await alerts(rig)]


async def tried(rig: Rig, trigger: AlertTrigger, since: int, **given: Any) -> Any:
    return await rig.do(PreviewRule(CreateRule("x", trigger, AlertScope(), WAIT, (), **given), since))


LASTS = [(1, AlertState.ALERT)]
ENDED = [(1, AlertState.OK)]


@pytest.mark.parametrize("trigger", OF_RUNS)
@pytest.mark.parametrize("set_by_ms", [0, -3600_000, 3600_000], ids=["as it is", "set back", "set ahead"])
async def test_a_start_ends_no_alert(tmp_path: Path, trigger: AlertTrigger, set_by_ms: int) -> None:
    async with open_rig(tmp_path) as rig:
        rule = await make(rig, trigger, config=WAIT)
        await begins(rig, trigger, "a")
        await passes(rig, 2 * MINUTE)
        assert await seen(rig) == LASTS
        first = rig
    async with restarted(tmp_path, first, set_by_ms=set_by_ms) as rig:
        for _ in range(4):
            await passes(rig, MINUTE // 2)
            assert (await seen(rig), await said(rig)) == (LASTS, [FIRED])
        if not set_by_ms:
            assert len((await tried(rig, trigger, rule.created_at)).fired) == 1
        await goes_on(rig, trigger, "a")
        await passes(rig, 1000)
        assert (await seen(rig), await said(rig)) == (ENDED, [FIRED, RECOVERED])


@pytest.mark.parametrize("trigger", OF_RUNS)
async def test_time_in_which_the_server_stands_still_ends_no_alert(rig: Rig, trigger: AlertTrigger) -> None:
    await make(rig, trigger, config=WAIT, renotify_ms=5 * MINUTE)
    await begins(rig, trigger, "a")
    await passes(rig, 2 * MINUTE)
    await at_rest(rig.store)
    rig.clock.stand_still(7000)
    await passes(rig, 2 * MINUTE)
    assert (await seen(rig), await said(rig)) == (LASTS, [FIRED])
    await passes(rig, 3 * MINUTE)
    assert await said(rig) == [FIRED, REPEATED], "what lasts is told again as always"
    await goes_on(rig, trigger, "a")
    await passes(rig, 1000)
    assert (await seen(rig), await said(rig)) == (ENDED, [FIRED, REPEATED, RECOVERED])


@pytest.mark.parametrize("trigger", OF_RUNS)
@pytest.mark.parametrize("ends", [True, False], ids=["the end", "progress"])
async def test_what_shows_just_before_a_kill_that_it_is_over_is_seen_after_it(
    tmp_path: Path, trigger: AlertTrigger, ends: bool
) -> None:
    """Also where the server was away for longer than the rule lets it last."""
    async with open_rig(tmp_path) as rig:
        await make(rig, trigger, config=WAIT)
        await begins(rig, trigger, "a")
        await passes(rig, 2 * MINUTE)
        [row] = await rig.store.runs(rig.org, RunFilter(), 1, None)
        if ends:
            await rig.do(CancelRun(row.run_id))
        else:
            await goes_on(rig, trigger, "a")
        first = rig
    async with restarted(tmp_path, first, down_ms=3 * MINUTE) as rig:
        await passes(rig, 1000)
        assert (await seen(rig), await said(rig)) == (ENDED, [FIRED, RECOVERED])


async def test_a_standstill_after_some_progress_is_another_episode(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await make(rig, AlertTrigger.STALLED, config=WAIT)
        await rig.append(start("a"))
        await passes(rig, 2 * MINUTE)
        await goes_on(rig, AlertTrigger.STALLED, "a")
        rig.clock.advance(2 * MINUTE)
        await rig.engine.sweep()
        assert await seen(rig) == [*ENDED, (2, AlertState.ALERT)]


async def test_a_worker_that_asks_ends_what_nobody_serves_and_one_that_cannot_take_it_does_not(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await make(rig, AlertTrigger.UNSERVED, config=WAIT)
        await begins(rig, AlertTrigger.UNSERVED, "a")
        await passes(rig, 2 * MINUTE)
        first = rig
    async with restarted(tmp_path, first) as rig:
        await passes(rig, 1000)
        await rig.do(Claim("other", 60 * MINUTE, ("reader",)))
        await passes(rig, 1000)
        assert await seen(rig) == LASTS
        rig.engine.services.workers.note(rig.org, ("writer",), (), "w", "k")
        await passes(rig, 1000)
        assert await seen(rig) == ENDED


@pytest.mark.parametrize("trigger", OF_RUNS)
async def test_a_rule_that_lets_it_last_longer_by_now_ends_its_alert(rig: Rig, trigger: AlertTrigger) -> None:
    rule = await make(rig, trigger, config=WAIT)
    await begins(rig, trigger, "a")
    await passes(rig, 2 * MINUTE)
    await rig.do(ChangeRule(rule.rule_id, config=AlertConfig(wait_ms=4 * MINUTE)))
    await passes(rig, 1000)
    assert await seen(rig) == ENDED
    await passes(rig, 3 * MINUTE)
    assert await seen(rig) == [*ENDED, (2, AlertState.ALERT)]


@pytest.mark.parametrize("trigger", OF_RUNS)
async def test_alerts_of_before_there_were_marks_end_no_sooner(rig: Rig, trigger: AlertTrigger) -> None:
    await make(rig, trigger, config=WAIT)
    await begins(rig, trigger, "a")
    await passes(rig, 2 * MINUTE)
    [alert] = await alerts(rig)
    async with rig.store.begin() as unit:
        old = msgspec.structs.replace(alert, mark=0, wait_ms=0)
        await unit.commit(Changes(alerts={(rig.org, alert.alert_id): old}))
    rig.engine.forget()
    await passes(rig, MINUTE)
    assert await seen(rig) == LASTS
    await goes_on(rig, trigger, "a")
    await passes(rig, 1000)
    assert await seen(rig) == ENDED


@pytest.mark.parametrize("trigger", OF_RUNS)
async def test_what_a_cool_down_keeps_quiet_is_counted_once_over_starts(tmp_path: Path, trigger: AlertTrigger) -> None:
    """However many runs a look takes, and whether they came before a start or after it."""
    cooldown_ms = 30 * MINUTE
    async with open_rig(tmp_path) as rig:
        rule = await make(rig, trigger, config=WAIT, cooldown_ms=cooldown_ms, channels=())
        await begins(rig, trigger, *"abcd")
        await passes(rig, 3 * MINUTE)
        first = rig
    for newcomers in ("", "ef", "g"):
        async with restarted(tmp_path, first) as rig:
            await begins(rig, trigger, *newcomers)
            await passes(rig, 3 * MINUTE)
            now = (await rig.do(GetRule(rule.rule_id))).rule
            trial = await tried(rig, trigger, rule.created_at, cooldown_ms=cooldown_ms)
            wanted = 3 + {"": 0, "ef": 2, "g": 3}[newcomers]
            assert (now.suppressed, trial.suppressed, len(trial.fired)) == (wanted, wanted, 1), newcomers
            assert len(await alerts(rig)) == 1
            first = rig


async def test_what_comes_to_last_long_enough_while_the_server_is_away_is_counted_after_it(tmp_path: Path) -> None:
    trigger = AlertTrigger.WAITING_TOO_LONG
    async with open_rig(tmp_path) as rig:
        rule = await make(rig, trigger, config=WAIT, cooldown_ms=30 * MINUTE, channels=())
        await begins(rig, trigger, *"ab")
        await passes(rig, MINUTE + 10_000)
        await begins(rig, trigger, "c")
        first = rig
    async with restarted(tmp_path, first, down_ms=5 * MINUTE) as rig:
        await passes(rig, 2000)
        assert (await rig.do(GetRule(rule.rule_id))).rule.suppressed == 2


async def test_what_a_cool_down_of_this_process_keeps_quiet_is_counted_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a look takes some of the runs alone, and those that come next have lasted since before the start."""
    monkeypatch.setattr("towerlog.engine.timers.rules.watch.ROWS_AT_ONCE", 2)
    trigger, cooldown_ms = AlertTrigger.WAITING_TOO_LONG, 10 * MINUTE
    async with open_rig(tmp_path) as rig:
        rule = await make(rig, trigger, config=WAIT, cooldown_ms=cooldown_ms, channels=())
        await begins(rig, trigger, *"abcd")
        await passes(rig, MINUTE + 10_000)
        assert (await rig.do(GetRule(rule.rule_id))).rule.suppressed == 3
        first = rig
    async with restarted(tmp_path, first) as rig:
        await passes(rig, 10 * MINUTE)
        assert len(await alerts(rig)) == 2
        assert (await rig.do(GetRule(rule.rule_id))).rule.suppressed == 3 + 2
