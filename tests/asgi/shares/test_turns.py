"""Turns: so many at a time, the next for who has fewest; who leaves the line holds nobody up, and some are kept."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from towerlog.asgi.shares.turns import KEPT_PART, Turns


async def test_turns_of_one_begin_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns(2, 2, 2)
    asked = [turns.ask("o", "k") for _ in range(5)]
    assert [one.done() for one in asked] == [True, True, False, False, False]
    assert turns.waiting == 3
    turns.end(asked[1])
    assert [one.done() for one in asked] == [True, True, True, False, False]
    turns.end(asked[3])
    turns.end(asked[0])
    assert [one.done() for one in asked] == [True, True, True, False, True]
    for one in (asked[2], asked[4]):
        turns.end(one)
    assert (turns.taken, turns.waiting) == (0, 0)


async def test_who_comes_when_one_is_free_does_not_wait() -> None:
    turns = Turns(1, 1, 1)
    turns.end(turns.ask("o", "k"))
    assert turns.ask("o", "k").done()
    assert not turns.is_free("p", "l")


async def test_neither_a_key_nor_an_organisation_has_all() -> None:
    turns = Turns(16, 8, 4)
    first = [turns.ask("o", "k") for _ in range(9)]
    second = [turns.ask("o", key) for key in "lmlmlmlm"]
    assert [sum(one.done() for one in some) for some in (first, second)] == [4, 4]


async def test_two_that_want_all_leave_some_for_whoever_comes() -> None:
    """However many of theirs wait: a third has its turn at once, and its second before their next."""
    turns = Turns(16, 8, 8)
    held = [turns.ask(of, of) for of in "ab" * 50]
    assert turns.taken == 12
    third = [turns.ask("c", "c") for _ in range(4)]
    assert [one.done() for one in third] == [True, False, False, False]
    turns.end(held[0])
    assert [one.done() for one in third] == [True, False, False, False], "some are kept for those who have none"
    for one in held[1:3]:
        turns.end(one)
    assert [one.done() for one in third] == [True, True, True, False]
    assert turns.ask("d", "d").done()


async def test_the_next_turn_is_for_the_key_that_has_fewest() -> None:
    turns = Turns(2, 2, 2)
    held = [turns.ask("o", "k"), turns.ask("o", "k")]
    waiting = [turns.ask("o", "k"), turns.ask("o", "l")]
    turns.end(held[0])
    assert [one.done() for one in waiting] == [False, True]


@pytest.mark.parametrize("seed", range(30))
async def test_whoever_may_have_a_turn_and_waits_has_one_as_soon_as_there_is_one(seed: int) -> None:
    """Of random takers: the bounds hold, none is kept waiting for nothing, and one that has none never waits."""
    chance = random.Random(seed)
    turns, live = Turns(16, 8, 4), list[tuple[str, str, object]]()
    for _ in range(400):
        if chance.random() < 0.55:
            of = chance.choice("abc")
            key = of + chance.choice("xyz")
            live.append((of, key, turns.ask(of, key)))
        elif live:
            turns.end(live.pop(chance.randrange(len(live)))[2])  # type: ignore[arg-type]
        begun = [(of, key) for of, key, turn in live if turn.done()]  # type: ignore[attr-defined]
        by_organisation, by_key = Counter(of for of, _ in begun), Counter(key for _, key in begun)
        assert turns.taken == len(begun) <= 16
        assert max(by_organisation.values(), default=0) <= 8
        assert max(by_key.values(), default=0) <= 4
        for of, key, turn in live:
            if not turn.done():  # type: ignore[attr-defined]
                assert not turns.is_free(of, key)
                assert by_organisation[of] > 0, "three organisations have no more than is kept"
    assert 16 * KEPT_PART[0] // KEPT_PART[1] >= 3
