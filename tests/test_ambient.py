"""Time and randomness of the machine: anchored, rising, and of the shape that the rest relies on."""

from __future__ import annotations

import os
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes import START_MS, FakeClock
from towerlog.ambient import MAX_COMMIT_MS, ServerClock, ServingTime, SystemClock, SystemIds, format_uuid7

RANDOM_BITS = 74


def test_wall_time_is_the_machines() -> None:
    before = time.time_ns() // 1_000_000
    now = SystemClock().now_ms()
    assert before <= now <= time.time_ns() // 1_000_000


def test_the_steady_clock_does_not_follow_a_wall_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, steady = START_MS * 1_000_000, 5_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: wall)
    monkeypatch.setattr(time, "monotonic_ns", lambda: steady)
    clock = SystemClock()
    assert clock.steady_ms() == clock.now_ms() == START_MS
    wall += 3_600_000_000_000
    steady += 250_000_000
    assert clock.now_ms() == START_MS + 3_600_000
    assert clock.steady_ms() == START_MS + 250


def test_a_servers_steady_clock_leaves_out_what_it_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_ms = 5_000
    monkeypatch.setattr(time, "time_ns", lambda: START_MS * 1_000_000)
    monkeypatch.setattr(time, "monotonic_ns", lambda: steady_ms * 1_000_000)
    clock = ServerClock()
    for _ in range(3):
        steady_ms += ServerClock.MAX_UNREAD_MS
        clock.steady_ms()
    assert clock.steady_ms() == START_MS + 3 * ServerClock.MAX_UNREAD_MS, "a busy second is not a standstill"
    before = clock.steady_ms()
    steady_ms += 3_600_000
    assert clock.steady_ms() == before
    steady_ms += 10
    assert clock.steady_ms() == before + 10


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_a_uuid_holds_its_time_and_its_random_bits(time_ms: int, random: int) -> None:
    text = format_uuid7(time_ms, random)
    read = uuid.UUID(text)
    assert str(read) == text
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert read.int >> 80 == time_ms
    kept = (read.int >> 64 & 0xFFF) << 62 | read.int & (1 << 62) - 1
    assert kept == random & (1 << RANDOM_BITS) - 1


def test_uuids_of_later_milliseconds_sort_later() -> None:
    clock = FakeClock()
    ids = SystemIds(clock)
    made = []
    for _ in range(50):
        made.append(ids.uuid())
        clock.advance(1)
    assert made == sorted(made)
    assert uuid.UUID(made[0]).int >> 80 == START_MS


def test_uuids_of_one_millisecond_differ() -> None:
    ids = SystemIds(FakeClock())
    assert len({ids.uuid() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("length", [0, 1, 32, 500])
def test_a_token_has_its_length_and_its_alphabet(length: int) -> None:
    token = SystemIds(FakeClock()).token(length)
    assert len(token) == length
    assert token.isalnum() or length == 0
    assert token.isascii()
    assert not set(token) & set("iloIuLO"), "letters that people take for others"


def test_no_letter_of_a_token_is_likelier_than_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte once: those past the last full round must be thrown away, not folded onto the first letters.

    They come first: behind the others they would not be looked at.
    """
    monkeypatch.setattr(os, "urandom", lambda _: bytes([*range(216, 256), *range(216)]))
    token = SystemIds(FakeClock()).token(216)
    assert {token.count(letter) for letter in token} == {4}
    assert len(set(token)) == 54


def test_of_what_an_earlier_process_stamped_the_clock_of_the_start_tells_how_long_ago_that_was() -> None:
    clock = FakeClock()
    before = clock.now_ms()
    clock.advance(600_000)
    serving = ServingTime(clock)
    now = clock.now_ms()
    clock.advance(60_000)
    for by_ms in (3_600_000, -7_200_000, 0):
        clock.jump(by_ms)
        serving.now()
        assert (serving.since_ms(before), serving.since_ms(now)) == (660_000, 60_000)
        assert serving.since_ms(clock.now_ms()) == 0


def test_acts_of_writing_that_keep_others_waiting_are_counted() -> None:
    """Those that overlap each from the end of the one before: so long has one alone kept the others waiting."""
    clock = FakeClock()
    serving = ServingTime(clock)
    for lasts_ms in (0, MAX_COMMIT_MS, MAX_COMMIT_MS + 1, 3 * MAX_COMMIT_MS):
        serving.begin()
        clock.advance(lasts_ms)
        serving.end()
    assert (serving.long_acts, serving.longest_act_ms) == (2, 3 * MAX_COMMIT_MS)
    for _ in range(2):
        serving.begin()
    for _ in range(2):
        clock.advance(2 * MAX_COMMIT_MS)
        serving.end()
    assert (serving.long_acts, serving.longest_act_ms) == (4, 3 * MAX_COMMIT_MS)
    serving.stop()
    serving.begin()
    clock.advance(4 * MAX_COMMIT_MS)
    serving.end()
    assert (serving.long_acts, serving.longest_act_ms) == (5, 4 * MAX_COMMIT_MS), "also where it has failed"
