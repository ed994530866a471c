"""What a rule would have made of stored events, read without their bodies. Pure; times are those of arrival."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from towerlog.model.alert import DEFAULT_WINDOW_MINUTES, MINUTE_MS, AlertConfig, AlertState, AlertTrigger
from towerlog.model.alert_preview import Firing
from towerlog.model.budget import BudgetRow, dollars_text, period_start, warn_nanos
from towerlog.model.event import TARGET_STATUS, EventType
from towerlog.model.liveness import NOT_FROM_AGENT, is_of_agent
from towerlog.model.outline import Moment
from towerlog.model.run import TERMINAL
from towerlog.projections.alerts.firing import begins_loop, burn_state, crosses, failure_state

_QUEUED = frozenset({EventType.RUN_QUEUED, EventType.LANE_RELEASED, EventType.LANE_LOST})
_ANSWERED = frozenset({EventType.RUN_INPUT, EventType.RUN_QUESTION_WITHDRAWN})
_STANDS_STILL = frozenset({EventType.RUN_WAITING, EventType.RUN_PAUSED}) | _QUEUED
_ENDS = frozenset(kind for kind, status in TARGET_STATUS.items() if status in TERMINAL) - {EventType.BUDGET_EXCEEDED}
_OF_END = {EventType.RUN_FAILED: AlertTrigger.ERROR, EventType.RUN_LOST: AlertTrigger.LOST}


class Happened(NamedTuple):
    """Something that rules add up: money that was spent, or a run that ended."""

    at: int
    nanos: int = 0
    ends: int = 0
    failed: int = 0


def of_run(
    trigger: AlertTrigger, config: AlertConfig, moments: Sequence[Moment], until: int, calls: Sequence[bytes] = ()
) -> Iterator[tuple[int, str]]:
    """(when, what) of each time that a rule about runs would have fired. `calls`: digests of tool calls, in order."""
    wait_ms = config.wait_ms or 0
    match trigger:
        case AlertTrigger.ERROR | AlertTrigger.LOST:
            end = _end(moments)
            if end is not None and _OF_END.get(end.type) is trigger:
                what = "was lost" if trigger is AlertTrigger.LOST else "has failed"
                yield end.recorded_at, what + (f": {end.facts.error}" if end.facts.error else "")
        case AlertTrigger.COST_THRESHOLD:
            yield from _costly(moments, config.amount_nanos or 0)
        case AlertTrigger.LOOP:
            yield from _loops(moments, calls, config.times)
        case AlertTrigger.WAITING_TOO_LONG:
            yield from _spans(
                moments, {EventType.RUN_WAITING}, _ANSWERED | _ENDS, wait_ms, until, "waits for an answer"
            )
        case AlertTrigger.QUEUE_WAIT | AlertTrigger.UNSERVED:
            claimed = {EventType.LANE_CLAIMED, EventType.RUN_STARTED} | _ENDS
            yield from _spans(moments, _QUEUED, claimed, wait_ms, until, "waits in the queue")
        case AlertTrigger.STALLED:
            yield from _stalls(moments, wait_ms, until)
        case _:
            return


def _end(moments: Iterable[Moment]) -> Moment | None:
    return next((one for one in moments if one.type in _ENDS), None)


def _costly(moments: Iterable[Moment], amount: int) -> Iterator[tuple[int, str]]:
    cost = 0
    for one in moments:
        spent = None if one.facts.spent is None else one.facts.spent.cost_nanos
        if spent:
            if crosses(cost, cost + spent, amount):
                yield one.recorded_at, f"has cost ${dollars_text(cost + spent)}"
                return
            cost += spent


def _loops(moments: Iterable[Moment], calls: Sequence[bytes], times: int | None) -> Iterator[tuple[int, str]]:
    made = [one for one in moments if one.type is EventType.TOOL_CALL]
    for index, one in enumerate(made[-len(calls) :] if calls else []):
        if begins_loop(calls[: index + 1], times):
            yield one.recorded_at, f"calls '{one.facts.tool or 'a tool'}' with the same arguments again and again"
            return


def _spans(
    moments: Iterable[Moment],
    begins: Iterable[EventType],
    ends: Iterable[EventType],
    wait_ms: int,
    until: int,
    words: str,
) -> Iterator[tuple[int, str]]:
    """Each time from a beginning to the next end that is long enough."""
    first, last = frozenset(begins), frozenset(ends)
    since: int | None = None
    for one in moments:
        if since is not None and one.type in last:
            if one.recorded_at - since >= wait_ms:
                yield since + wait_ms, words
            since = None
        if since is None and one.type in first:
            since = one.recorded_at
    if since is not None and until - since >= wait_ms:
        yield since + wait_ms, words


def _stalls(moments: Iterable[Moment], wait_ms: int, until: int) -> Iterator[tuple[int, str]]:
    since: int | None = None
    for one in moments:
        is_beat = one.facts.effects is not None and one.facts.effects.beat
        if is_beat:
            continue
        if not is_of_agent(one.type, one.facts.effects) and one.type not in _STANDS_STILL | _ENDS:
            if since is None and one.type not in NOT_FROM_AGENT:
                since = one.recorded_at  # a person's answer: the agent is expected to go on
            continue
        if since is not None and one.recorded_at - since >= wait_ms:
            yield since + wait_ms, "makes no progress"
        if one.type in _ENDS:
            return
        since = None if one.type in _STANDS_STILL else one.recorded_at
    if since is not None and until - since >= wait_ms:
        yield since + wait_ms, "makes no progress"


def happened(moments: Iterable[Moment]) -> Iterator[Happened]:
    """What rules add up of a run."""
    is_over = False
    for one in moments:
        spent = None if one.facts.spent is None else one.facts.spent.cost_nanos
        ends = not is_over and one.type in _ENDS
        is_over = is_over or ends
        if spent or ends:
            yield Happened(one.recorded_at, spent or 0, int(ends), int(ends and one.type in _OF_END))


def of_window(trigger: AlertTrigger, config: AlertConfig, all_of_it: Sequence[Happened]) -> Iterator[Firing]:
    """The times at which what had happened in the window before would have fired. `all_of_it`: in order of time."""
    window_ms = config.window_ms or DEFAULT_WINDOW_MINUTES * MINUTE_MS
    oldest = 0
    nanos = ends = failed = 0
    fires = False
    for one in all_of_it:
        nanos, ends, failed = nanos + one.nanos, ends + one.ends, failed + one.failed
        while (gone := all_of_it[oldest]).at <= one.at - window_ms:
            oldest += 1
            nanos, ends, failed = nanos - gone.nanos, ends - gone.ends, failed - gone.failed
        if trigger is AlertTrigger.FAILURE_RATE:
            state, words = failure_state(ends, failed, config), f"{failed} of {ends} runs have failed"
        else:
            state, words = burn_state(nanos, config), f"${dollars_text(max(0, nanos))} was spent"
        if state is AlertState.ALERT and not fires:
            yield Firing(one.at, "rule", f"{words} within {window_ms // MINUTE_MS} minutes")
        fires = state is AlertState.ALERT


def of_budget(budget: BudgetRow, fraction: float | None, spending: Iterable[Happened]) -> Iterator[Firing]:
    """The times at which so much of a budget, as it is now, would have been spent. `spending`: in order of time."""
    threshold = warn_nanos(budget.amount_nanos, 1.0 if fraction is None else fraction)
    start, spent = -1, 0
    for one in spending:
        if period_start(budget.period, one.at) != start:
            start, spent = period_start(budget.period, one.at), 0
        if crosses(spent, spent + one.nanos, threshold):
            words = f"{budget.scope.subject()} has used ${dollars_text(spent + one.nanos)} of its budget"
            yield Firing(one.at, f"budget:{budget.budget_id}", words)
        spent += one.nanos
