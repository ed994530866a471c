"""`towerlog retention confirm-clock`: an operator's word that the machine's clock is right, beside a server or without.

Opens the store. What is said first is worked out from what the server has kept; what becomes of the word is the
server's to decide (`engine/erasure/age_clock.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from towerlog.ambient import Clock, SystemClock
from towerlog.cli.account import operator
from towerlog.cli.admin import with_identities
from towerlog.cli.formatting import counted, duration
from towerlog.cli.output import answer, note, say
from towerlog.config import Settings
from towerlog.engine.audit.outside import clock_confirmed
from towerlog.engine.erasure.age_clock import CLOCKS_DIFFER_MS, MIN_CONFIRMED_MS, ClockConfirm, started
from towerlog.errors import Conflict
from towerlog.model.facts import Erases
from towerlog.model.times import format_ms
from towerlog.storage import opened_for_reading
from towerlog.store.base import Identities, Store

MAX_COUNTED = 1000
"""Runs of a kind of content that are counted; there may be more."""


class ClockSeen(msgspec.Struct, frozen=True):
    """The machine's clock beside that by which things grow old, in ms."""

    wall_ms: int
    age_ms: int
    passed_ms: int
    """By `Clock.passed_ms`, at the same moment."""
    due: dict[Erases, int]
    """Kind of content → runs that the policies erase by the machine's clock, MAX_COUNTED at most."""

    @property
    def off_ms(self) -> int:
        """How far the machine's clock is ahead, behind where below 0."""
        return self.wall_ms - self.age_ms

    def was_set(self, clock: Clock) -> bool:
        """Whether the machine's clock has been set since."""
        return abs(clock.now_ms() - self.wall_ms - (clock.passed_ms() - self.passed_ms)) > CLOCKS_DIFFER_MS


def confirm_clock(settings: Settings, yes: bool, as_json: bool) -> None:
    """Says what is off and what will be deleted, asks, and writes the word. Raises Conflict, and as the store does."""
    clock = SystemClock()
    seen = asyncio.run(_look(settings, clock))
    fields: dict[str, Any] = {
        "confirmed": abs(seen.off_ms) > MIN_CONFIRMED_MS,
        "clock": format_ms(seen.wall_ms),
        "passed": format_ms(seen.age_ms),
        "off_seconds": int(seen.off_ms / 1000),
        "due": {kind.value: runs for kind, runs in seen.due.items()},
    }
    if not fields["confirmed"]:
        answer(
            as_json, fields, lambda: say("The clock agrees with the time that has passed: nothing is to be confirmed.")
        )
        return
    for line in _words(seen):
        note(line)
    if not yes:
        click.confirm("Is the clock of this machine right?", abort=True, err=True)
    if seen.was_set(clock):
        raise Conflict("The machine's clock was set meanwhile; nothing was confirmed. Look again.")
    confirm = ClockConfirm(clock.now_ms(), seen.age_ms)
    with_identities(settings, lambda identities: _write(identities, confirm))
    said = "Confirmed. A server that runs takes it within seconds; one that is started within the hour takes it then."
    answer(as_json, fields, lambda: say(said))


async def _look(settings: Settings, clock: Clock) -> ClockSeen:
    async with opened_for_reading(settings, clock) as store:
        kept = await store.age_kept()
        wall_ms, passed_ms = clock.now_ms(), clock.passed_ms()
        age_ms = started(*kept, wall_ms).now_ms
        due = await _due(store, wall_ms) if wall_ms > age_ms else {}
        return ClockSeen(wall_ms, age_ms, passed_ms, due)


async def _due(store: Store, wall_ms: int) -> dict[Erases, int]:
    due: dict[Erases, int] = {}
    for policy in await store.policies_all():
        counted_so_far = due.setdefault(policy.kind, 0)
        if policy.max_age_ms is not None and counted_so_far < MAX_COUNTED:
            limit = MAX_COUNTED - counted_so_far
            found = await store.runs_held(policy.org, policy.kind, wall_ms - policy.max_age_ms, limit)
            due[policy.kind] += limit if found.cut else len(found)
    return due


async def _write(identities: Identities, confirm: ClockConfirm) -> None:
    orgs, by = await identities.orgs(), operator()
    told = [clock_confirmed(by, org, confirm.wall_ms, confirm.age_ms) for org in orgs]
    identities.clock_confirm(msgspec.json.encode(confirm).decode(), told)


def _compared(seen: ClockSeen) -> str:
    way = "ahead of" if seen.off_ms > 0 else "behind"
    return (
        f"This machine's clock says {format_ms(seen.wall_ms)}, {duration(abs(seen.off_ms))} {way} the time that the"
        f" server has seen pass, which is {format_ms(seen.age_ms)}."
    )


def _words(seen: ClockSeen) -> Iterator[str]:
    yield _compared(seen)
    if seen.off_ms < 0:
        yield "If the clock is right, confirm it, and what grows old does so by it from now on. That deletes nothing."
        return
    yield "If the clock is right, confirm it. What is too old by it is then deleted, and nothing brings it back:"
    for kind, runs in seen.due.items():
        most = " or more" if runs >= MAX_COUNTED else ""
        yield f"  {kind.value} of {counted(runs, 'run')}{most}, by the policy for them"
    yield "  alerts, sessions and links, within an hour"
    yield "If it is not right, do not confirm it: set it. After 24 hours the server begins to follow it by itself."
