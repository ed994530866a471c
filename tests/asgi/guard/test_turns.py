"""Turns: so many at a time, in the order in which they were asked for; who leaves the line holds nobody up."""

from __future__ import annotations

from towerlog.asgi.guard.turns import Turns


async def test_turns_begin_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns(2)
    asked = [turns.ask() for _ in range(5)]
    assert [one.done() for one in asked] == [True, True, False, False, False]
    assert turns.waiting == 3
    turns.end(asked[1])
    assert [one.done() for one in asked] == [True, True, True, False, False]
    turns.end(asked[3])
    turns.end(asked[0])
    assert [one.done() for one in asked] == [True, True, True, False, True]
    assert turns.are_taken
    for one in (asked[2], asked[4]):
        turns.end(one)
    assert not turns.are_taken
    assert turns.waiting == 0


async def test_who_comes_when_one_is_free_does_not_wait() -> None:
    turns = Turns(1)
    turns.end(turns.ask())
    turn = turns.ask()
    assert turn.done()
    assert turns.are_taken
