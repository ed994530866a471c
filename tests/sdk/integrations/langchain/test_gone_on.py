"""What a process is told that waits for answers while another one goes on with the thread."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from towerlog.engine.control.receipts import ending_of
from towerlog.model.run import RunRow, Status
from towerlog.sdk.integrations.langchain.interrupts import ELSEWHERE, KEY, Interrupts, gone_on_elsewhere
from towerlog.sdk.integrations.langchain.tree import Tree
from towerlog.sdk.record.commands import RunCancelled


class Asked(NamedTuple):
    """As the library has an interrupt."""

    id: str
    value: str


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_the_end_by_another_process_is_told_as_that(status: Status) -> None:
    word = ending_of(RunRow(1, 1, "r", "t", "x", status, 0)).content
    said = str(gone_on_elsewhere(RunCancelled(word)))
    assert said == f"{ELSEWHERE}: the run has ended as {status}"


@pytest.mark.parametrize("reason", ["never mind", "cancelled"])
def test_a_cancel_stays_one(reason: str) -> None:
    error = RunCancelled(reason)
    assert gone_on_elsewhere(error) is error


def test_a_result_that_nobody_waits_for_any_more_says_so() -> None:
    waits = Interrupts(Tree())
    with pytest.raises(ValueError, match="another process has gone on"):
        waits.answered({KEY: (Asked("i", "q?"),)}, None)
    with pytest.raises(ValueError, match="__interrupt__"):
        waits.answered({"done": True}, None)
