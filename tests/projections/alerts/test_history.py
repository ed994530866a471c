"""What a rule would have made of stored events: each condition on a few of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.factories import facts_of
from towerlog.model.alert import AlertConfig, AlertTrigger
from towerlog.model.event import EventType as E
from towerlog.model.facts import Facts
from towerlog.model.outline import Moment
from towerlog.model.usage import Usage
from towerlog.projections.alerts.history import Happened, happened, of_run, of_window

UNTIL = 1000


def moments(*told: tuple[int, E] | tuple[int, E, Facts]) -> list[Moment]:
    return [
        Moment(index + 1, one[1], one[0], None, 1, one[2] if len(one) > 2 else Facts())
        for index, one in enumerate(told)
    ]


def fired(trigger: AlertTrigger, config: AlertConfig, found: Sequence[Moment]) -> list[int]:
    return [at for at, _ in of_run(trigger, config, found, UNTIL)]


WAITS = AlertConfig(wait_ms=100)


@pytest.mark.parametrize(
    ("trigger", "found", "at"),
    [
        (AlertTrigger.WAITING_TOO_LONG, [(0, E.RUN_WAITING), (99, E.RUN_INPUT)], []),
        (AlertTrigger.WAITING_TOO_LONG, [(0, E.RUN_WAITING), (100, E.RUN_INPUT)], [100]),
        (AlertTrigger.WAITING_TOO_LONG, [(0, E.RUN_WAITING), (50, E.STEP), (200, E.RUN_FAILED)], [100]),
        (AlertTrigger.WAITING_TOO_LONG, [(850, E.RUN_WAITING)], [950]),
        (AlertTrigger.WAITING_TOO_LONG, [(950, E.RUN_WAITING)], []),
        (AlertTrigger.STALLED, [(0, E.RUN_STARTED), (99, E.STEP), (199, E.RUN_COMPLETED)], [199]),
        (AlertTrigger.STALLED, [(0, E.RUN_STARTED), (50, E.RUN_WAITING), (900, E.RUN_INPUT), (950, E.RUN_FAILED)], []),
        (AlertTrigger.STALLED, [(0, E.RUN_STARTED), (60, E.RUN_SILENT), (120, E.RUN_LOST)], [100]),
        (AlertTrigger.STALLED, [(0, E.RUN_STARTED), (60, E.OTHER, facts_of(beat=True)), (120, E.RUN_FAILED)], [100]),
        (AlertTrigger.QUEUE_WAIT, [(0, E.RUN_QUEUED), (150, E.LANE_CLAIMED)], [100]),
        (AlertTrigger.QUEUE_WAIT, [(0, E.RUN_QUEUED), (50, E.LANE_CLAIMED), (60, E.LANE_LOST)], [160]),
        (AlertTrigger.ERROR, [(0, E.RUN_STARTED), (7, E.RUN_FAILED), (9, E.RUN_LOST)], [7]),
        (AlertTrigger.LOST, [(0, E.RUN_STARTED), (7, E.RUN_FAILED), (9, E.RUN_LOST)], []),
    ],
)
def test_a_condition_holds_from_a_moment_on(trigger: AlertTrigger, found: list, at: list[int]) -> None:
    assert fired(trigger, WAITS, moments(*found)) == at


def spent(nanos: int) -> Facts:
    return Facts(spent=Usage(cost_nanos=nanos))


def test_a_cost_is_reached_once() -> None:
    found = moments((1, E.MODEL_CALL, spent(4)), (2, E.MODEL_CALL, spent(6)), (3, E.MODEL_CALL, spent(9)))
    assert fired(AlertTrigger.COST_THRESHOLD, AlertConfig(amount_nanos=10), found) == [2]
    assert list(happened(found)) == [Happened(1, 4), Happened(2, 6), Happened(3, 9)]


def test_only_the_first_end_counts() -> None:
    found = moments((1, E.RUN_FAILED), (2, E.RUN_COMPLETED))
    assert list(happened(found)) == [Happened(1, 0, 1, 1)]


def test_a_window_forgets_and_fires_again() -> None:
    config = AlertConfig(amount_nanos=10, window_ms=60_000)
    told = [Happened(at * 1000, nanos) for at, nanos in ((0, 6), (30, 5), (40, 5), (100, 1), (170, 10))]
    found = list(of_window(AlertTrigger.BURN_RATE, config, told))
    assert [(one.at, one.message) for one in found] == [
        (30_000, "$0.000000011 was spent within 1 minutes"), (170_000, "$0.00000001 was spent within 1 minutes"),
    ]  # fmt: skip
