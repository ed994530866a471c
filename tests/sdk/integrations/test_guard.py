"""Nothing of an adapter is raised into its framework but a cancel, and what fails is logged once."""

from __future__ import annotations

import logging

import pytest

from towerlog.sdk.integrations.guard import MAX_SAID, Guard, guarded
from towerlog.sdk.record.commands import RunCancelled


class Adapter:
    def __init__(self) -> None:
        self.guard = Guard("the adapter of a test")

    @guarded
    def reports(self, error: BaseException | None) -> str:
        if error is not None:
            raise error
        return "reported"


def test_what_works_is_returned() -> None:
    assert Adapter().reports(None) == "reported"


def test_a_defect_is_logged_once_of_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    adapter = Adapter()
    with caplog.at_level(logging.ERROR, "towerlog.sdk"):
        for error in (ValueError("a"), ValueError("b"), KeyError("c")):
            assert adapter.reports(error) is None
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError, KeyError]


def test_the_log_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard("the adapter of a test")
    with caplog.at_level(logging.ERROR, "towerlog.sdk"):
        for number in range(MAX_SAID + 10):
            guard.failed(f"callback {number}", ValueError())
    assert len(caplog.records) == MAX_SAID


@pytest.mark.parametrize("error", [RunCancelled("never mind"), KeyboardInterrupt()], ids=["cancel", "interrupt"])
def test_a_cancel_comes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Adapter().reports(error)
