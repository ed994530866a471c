"""The fakes keep their word: time stands unless it is moved, and a seed decides every id."""

import uuid

import pytest

from tests.support.fakes import START_MS, FakeClock, SeededIds


def test_time_stands_until_it_is_moved() -> None:
    clock = FakeClock()
    assert (clock.now_ms(), clock.steady_ms()) == (START_MS, START_MS)
    clock.advance(5)
    clock.jump(-3_600_000)
    assert (clock.now_ms(), clock.steady_ms()) == (START_MS + 5 - 3_600_000, START_MS + 5)


def test_a_restart_anchors_the_steady_clock_to_the_wall() -> None:
    clock = FakeClock()
    clock.jump(3_600_000)
    clock.restart()
    assert clock.steady_ms() == clock.now_ms() == START_MS + 3_600_000


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(AssertionError):
        FakeClock().advance(-1)


def test_the_seed_decides_every_id() -> None:
    one, same, other = SeededIds(7), SeededIds(7), SeededIds(8)
    made = [one.uuid() for _ in range(5)] + [one.token(40)]
    assert made == [same.uuid() for _ in range(5)] + [same.token(40)]
    assert made[0] != other.uuid()
    assert made[:5] == sorted(set(made[:5]))
    assert uuid.UUID(made[0]).version == 7
    assert len(made[5]) == 40
    assert made[5].isalnum()
