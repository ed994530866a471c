"""The clock by which stored things grow old: what is deleted for its age is deleted by this one alone.

The law: a wall clock that is wrong deletes nothing. The age clock goes on with the time that the server itself sees
pass, whether it ran or the machine slept, and is kept in the store. The wall clock may only lead it slowly: by
MAX_STEP_MS at a start, else at twice the speed of time, and where it is further off, not before it has been so for
HOLD_MS in which the server ran. An operator who confirms the wall clock has it followed at once, up to what that said
when it was confirmed and no further.
"""

from __future__ import annotations

import zlib

import msgspec
import structlog

from towerlog.ambient import ServingTime
from towerlog.store.base import RetentionStore

MAX_STEP_MS = 3600 * 1000
"""Between the two clocks: more is a clock that was set, or a server that was away."""
HOLD_MS = 24 * 3600 * 1000
"""Of running, before a wall clock that is further off counts."""
KEPT_EACH_MS = 600_000
MIN_CONFIRMED_MS = MAX_STEP_MS - KEPT_EACH_MS
"""What was kept may be as old as that: by what is kept alone, a clock that is further off may hold deletion back."""
CLOCKS_DIFFER_MS = 60_000
"""So far the clocks of two machines differ at most, of which one has confirmed that of the other."""

log = structlog.get_logger("towerlog.retention")


class AgeState(msgspec.Struct, frozen=True):
    """What is kept of it, in ms."""

    now_ms: int
    held_ms: int = 0
    """For how long of running the wall clock has been further off than MAX_STEP_MS."""
    behind_from: int | None = None
    """Stamps from here on may be too old: they were made while the wall clock was behind."""
    behind_until: int = 0
    """When by this clock it was last behind."""
    checksum: int = 0
    """Of all of it, as it is kept; 0: by a version before this."""


class ClockConfirm(msgspec.Struct, frozen=True):
    """An operator's word that the wall clock is right, in ms."""

    wall_ms: int
    """What that said."""
    age_ms: int
    """What was kept of the age clock then."""

    def counts(self, age_ms: int, wall_ms: int) -> bool:
        """Whether it is about this wall clock: neither was that set since, nor is it longer ago than MAX_STEP_MS by
        either clock."""
        is_same = -CLOCKS_DIFFER_MS <= wall_ms - self.wall_ms <= MAX_STEP_MS
        return is_same and abs(age_ms - self.age_ms) <= MAX_STEP_MS


class AgeClock:
    """Of one engine."""

    def __init__(self, store: RetentionStore, serving: ServingTime) -> None:
        """It begins now; what was kept is read when it is first asked."""
        self._store = store
        self._serving = serving
        self._state: AgeState | None = None
        self._began_at = serving.clock.now_ms()
        """In wall ms."""
        self._passed_ms = serving.clock.passed_ms()
        """At the last look."""
        self._back_ms = 0
        """By how much it was put back, since the wall clock was right."""
        self._kept_at: int | None = None
        self.off_ms = 0
        """How far the wall clock is ahead of this one, behind where below 0; 0 while deletion is not held back."""

    async def before(self, age_ms: int) -> int:
        """What is stamped (wall ms) before this is so old, by every clock. Raises StorageFailed."""
        state = await self._look()
        before = min(state.now_ms, self._serving.clock.now_ms()) - age_ms
        if state.behind_from is not None and state.now_ms <= state.behind_until + age_ms:
            before = min(before, state.behind_from)
        return before

    async def passed_ms(self) -> int:
        """The time by this clock, without what it was put back by. Raises StorageFailed."""
        return (await self._look()).now_ms + self._back_ms

    async def sweep(self) -> None:
        """Goes on, also to where an operator has confirmed the wall clock, and is kept."""
        state = await self._look()
        if self.off_ms:
            confirmed = await self._store.age_confirmed()
            state = await self._look()
            if confirmed is not None:
                state = self._state = self._confirmed(state, msgspec.json.decode(confirmed, type=ClockConfirm))
        if self._kept_at is None or abs(state.now_ms - self._kept_at) >= KEPT_EACH_MS:
            self._kept_at = state.now_ms
            await self._store.age_keep(as_kept(state))

    async def _look(self) -> AgeState:
        kept = (None, None) if self._state is not None else await self._store.age_kept()
        # Somebody else may have read it meanwhile.
        before = self._state or started(*kept, self._began_at)
        passed_ms, wall_ms = self._serving.clock.passed_ms(), self._serving.clock.now_ms()
        by_ms, self._passed_ms = max(passed_ms - self._passed_ms, 0), passed_ms
        self._state = state = _gone_on(before, by_ms, wall_ms)
        if state.now_ms < before.now_ms:
            self._back_ms += before.now_ms + by_ms - state.now_ms
        self._tell(wall_ms - state.now_ms)
        return state

    def _confirmed(self, state: AgeState, confirm: ClockConfirm) -> AgeState:
        wall_ms = self._serving.clock.now_ms()
        if not self.off_ms or not confirm.counts(state.now_ms, wall_ms):
            return state
        log.warning("clock_confirmed", seconds=self.off_ms // 1000)
        after = _set_to(state, min(confirm.wall_ms, wall_ms))
        self._back_ms += max(state.now_ms - after.now_ms, 0)
        self._tell(wall_ms - after.now_ms)
        return after

    def _tell(self, off_ms: int) -> None:
        was_off, self.off_ms = self.off_ms, off_ms if abs(off_ms) > MAX_STEP_MS else 0
        if self.off_ms and not was_off:
            log.warning(
                "clock_off",
                seconds=self.off_ms // 1000,
                held="what would be deleted for its age",
                if_it_is_right="towerlog retention confirm-clock",
            )
        elif was_off and not self.off_ms:
            log.info("clock_agrees")


def started(kept: str | None, newest_ms: int | None, wall_ms: int) -> AgeState:
    """At a start: as it was kept, and what has come since; a store that kept none has the time of its newest event."""
    state = None if kept is None else kept_state(kept)
    if state is None:
        if kept is not None:
            log.warning("age_clock_damaged", held="it goes on from the newest event")
        state = AgeState(wall_ms if newest_ms is None else min(newest_ms, wall_ms))
    near = state.now_ms <= wall_ms <= state.now_ms + MAX_STEP_MS
    return msgspec.structs.replace(state, now_ms=wall_ms) if near else state


def as_kept(state: AgeState) -> str:
    """The state as text, with its checksum."""
    return msgspec.json.encode(msgspec.structs.replace(state, checksum=_checksum(state))).decode()


def kept_state(text: str) -> AgeState | None:
    """What `as_kept` made a text of; None where it is not that any more."""
    try:
        state = msgspec.json.decode(text, type=AgeState)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return state if state.checksum in (0, _checksum(state)) else None


def _checksum(state: AgeState) -> int:
    return zlib.crc32(msgspec.json.encode(msgspec.structs.replace(state, checksum=0))) or 1


def _set_to(state: AgeState, now_ms: int) -> AgeState:
    """At another time. What was stamped wrong is not believed for as long as before, by whichever time that is."""
    behind_until = state.behind_until + now_ms - state.now_ms
    return msgspec.structs.replace(state, now_ms=now_ms, held_ms=0, behind_until=behind_until)


def _gone_on(state: AgeState, by_ms: int, wall_ms: int) -> AgeState:
    """After so much time, with the wall clock as it is now."""
    now_ms = state.now_ms + by_ms
    off_ms = wall_ms - now_ms
    if abs(off_ms) <= MAX_STEP_MS:
        # Twice the speed until they agree; what is ahead of the wall clock waits for it.
        now_ms = max(state.now_ms, min(now_ms + by_ms, wall_ms))
        return msgspec.structs.replace(state, now_ms=now_ms, held_ms=0)
    held_ms = state.held_ms + by_ms
    if off_ms > 0:
        return msgspec.structs.replace(
            state, now_ms=now_ms + (by_ms if state.held_ms >= HOLD_MS else 0), held_ms=held_ms
        )
    if state.held_ms >= HOLD_MS:
        return _set_to(state, wall_ms)  # it is this clock that was ahead; to go back deletes nothing
    since = wall_ms - MAX_STEP_MS if state.behind_from is None else min(state.behind_from, wall_ms - MAX_STEP_MS)
    return AgeState(now_ms, held_ms, since, now_ms)
