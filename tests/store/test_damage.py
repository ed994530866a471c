"""What is damaged is counted each time and logged once; reads that fail again and again are told apart from one."""

from __future__ import annotations

import msgspec
import structlog

from tests.support.fakes import FakeClock
from towerlog.model.event import DamagedEvent
from towerlog.store import damage
from towerlog.store.damage import FAILURES_NOT_READY, FAILURES_OVER_MS, FAILURES_WITHIN_MS, Damages

LOST = DamagedEvent(1, 5, 7, 3, 3, "its hash does not fit")


def test_a_place_is_counted_each_time_and_logged_once() -> None:
    damages = Damages(FakeClock().steady_ms)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            damages.note(LOST)
        damages.note(msgspec.structs.replace(LOST, seq=4, first_seq=4))
        damages.note_content(1, b"\x01", "a message was changed")
        damages.note_content(1, b"\x01", "a message was changed")
    assert damages.found == 6
    assert [(one["log_level"], one.get("seq")) for one in logged] == [("error", 3), ("error", 4), ("error", None)]
    assert logged[0]["reason"] == LOST.reason


def test_the_log_has_a_bound(monkeypatch) -> None:
    monkeypatch.setattr(damage, "MAX_PLACES_LOGGED", 2)
    damages = Damages(FakeClock().steady_ms)
    with structlog.testing.capture_logs() as logged:
        for seq in range(1, 6):
            damages.note(msgspec.structs.replace(LOST, seq=seq))
            damages.note_failure(OSError("no"))
    assert (damages.found, damages.failures) == (5, 5)
    assert len(logged) == 3
    quiet = Damages(FakeClock().steady_ms, is_logged=False)
    with structlog.testing.capture_logs() as logged:
        quiet.note(LOST)
        quiet.note_failure(OSError("no"))
    assert logged == []


def test_it_is_failing_after_some_failures_within_a_while() -> None:
    clock = FakeClock()
    damages = Damages(clock.steady_ms, is_logged=False)
    for _ in range(FAILURES_NOT_READY):
        assert not damages.is_failing()
        damages.note_failure(OSError("no"))
    assert damages.is_failing()
    clock.advance(FAILURES_OVER_MS)
    assert damages.is_failing()
    clock.advance(1)
    assert not damages.is_failing(), "once reads work it is ready again, within seconds"
    damages.note_failure(OSError("no"))
    assert damages.is_failing(), "they do not work after all"
    clock.advance(FAILURES_WITHIN_MS)
    damages.note_failure(OSError("no"))
    assert not damages.is_failing()
    for _ in range(FAILURES_NOT_READY):
        clock.advance(FAILURES_WITHIN_MS)
        damages.note_failure(OSError("no"))
    assert not damages.is_failing(), "once in a while is not again and again"


def test_failed_reads_are_logged_when_they_begin_and_when_they_are_over() -> None:
    clock = FakeClock()
    damages = Damages(clock.steady_ms)
    with structlog.testing.capture_logs() as logged:
        for _ in range(2000):
            damages.note_failure(OSError("no"))
        clock.advance(FAILURES_WITHIN_MS + 1)
        damages.is_failing()
        damages.is_failing()
        damages.note_failure(OSError("a week later"))
        clock.advance(FAILURES_WITHIN_MS + 1)
        damages.note_failure(OSError("and later"))
    assert [(one["event"], one.get("error"), one.get("failures")) for one in logged] == [
        ("a read of the store failed", "OSError: no", None),
        ("reads of the store work again", None, 2000),
        ("a read of the store failed", "OSError: a week later", None),
        ("reads of the store work again", None, 1),
        ("a read of the store failed", "OSError: and later", None),
    ]
