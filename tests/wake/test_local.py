"""The local wake: every listener hears of every commit, once and in order, whatever the others do."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.support.factories import event, run_row
from towerlog.model.pending import Pending
from towerlog.model.run import Status
from towerlog.store.values import RunChange
from towerlog.wake.base import Commit, Wake, has_news
from towerlog.wake.local import LocalWake

FIRST, SECOND = (Commit(events=[event(number, number)]) for number in (1, 2))


class Unspeakable(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no text")


async def test_each_listener_hears_of_each_commit_once_and_in_order() -> None:
    heard: list[tuple[str, Commit]] = []
    wake: Wake = LocalWake()
    for name in ("hub", "polls"):
        wake.subscribe(lambda commit, name=name: heard.append((name, commit)))
    wake.committed(FIRST)
    wake.committed(SECOND)
    assert heard == [("hub", FIRST), ("polls", FIRST), ("hub", SECOND), ("polls", SECOND)]


async def test_without_listeners_nothing_happens() -> None:
    LocalWake().committed(FIRST)


@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), Unspeakable()], ids=["plain", "unspeakable"])
async def test_a_listener_that_raises_stops_nobody(error: Exception) -> None:
    heard: list[Commit] = []
    wake = LocalWake()

    def broken(commit: Commit) -> None:
        raise error

    for listener in (broken, heard.append, broken, heard.append):
        wake.subscribe(listener)
    with capture_logs() as logged:
        wake.committed(FIRST)
        wake.committed(SECOND)
    assert heard == [FIRST, FIRST, SECOND, SECOND]
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [("listener_failed", "error")] * 4


async def test_who_subscribes_while_a_commit_is_told_hears_of_the_next() -> None:
    heard: list[Commit] = []
    wake = LocalWake()

    def late(commit: Commit) -> None:
        if not heard and commit is FIRST:
            wake.subscribe(heard.append)

    wake.subscribe(late)
    wake.committed(FIRST)
    assert heard == []
    wake.committed(SECOND)
    assert heard == [SECOND]


OPEN, OVER = run_row(), run_row(status=Status.COMPLETED)


def test_a_command_and_an_end_are_news_for_an_agent() -> None:
    assert has_news(RunChange(OPEN, run_row(pending=(Pending(1, "cancel"),))))
    assert has_news(RunChange(OPEN, OVER))
    assert not has_news(RunChange(None, OPEN))
