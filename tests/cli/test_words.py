"""The words of the server that commands have as well: client commands start without the server's modules."""

from __future__ import annotations

from towerlog.cli import budgets, tail
from towerlog.cli.runs import FOREIGN_STATUSES, STATUSES
from towerlog.dialects.run_json import STATUS_OF
from towerlog.model.budget import BudgetAction, Period
from towerlog.model.event import EventType
from towerlog.model.run import Status


def test_statuses_are_those_that_a_list_of_runs_takes() -> None:
    assert {*STATUSES} == {status.value for status in Status}
    assert {*STATUSES, *FOREIGN_STATUSES} == set(STATUS_OF)
    assert len(STATUSES) + len(FOREIGN_STATUSES) == len(STATUS_OF), "none is there twice"


def test_events_that_a_tail_has_words_for_are_events() -> None:
    assert tail._WORDS.keys() <= {kind.value for kind in EventType}


def test_of_budgets_periods_and_actions_are_those_that_there_are() -> None:
    assert {*budgets.PERIODS} == {period.value for period in Period}
    assert {*budgets.ACTIONS} == {action.value for action in BudgetAction}
