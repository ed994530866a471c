"""Tests of the waiting that all other tests lean on."""

import pytest

from tests.support.wait import wait_until, wait_until_async


def test_returns_the_first_truthy_result() -> None:
    answers = iter([None, 0, "ready"])
    assert wait_until(lambda: next(answers), "an answer") == "ready"


def test_says_what_was_awaited_and_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.02 s for a run to end; .* \[\]"):
        wait_until(list, "a run to end", deadline_s=0.02)


async def test_takes_plain_and_async_conditions() -> None:
    answers = iter([False, True, False, True])

    async def ask() -> bool:
        return next(answers)

    assert await wait_until_async(ask, "an async answer") is True
    assert await wait_until_async(lambda: next(answers), "a plain answer") is True


async def test_the_async_wait_ends_too() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.02 s for nothing"):
        await wait_until_async(lambda: False, "nothing", deadline_s=0.02)
