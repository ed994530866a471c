"""The questions of `SqliteStore` about retention."""

from __future__ import annotations

import asyncio
from typing import Any

from towerlog.model.retention import Erasing
from towerlog.store.sqlite.connections.pools import Ask, HasPools, Pool, Where
from towerlog.store.sqlite.erasure import content, policies, reclaim, steps


class ErasingAsks(HasPools):
    """A part of the store; see `store/base` for what each method promises."""

    policies_of = Ask(policies.policies_of)
    policies_all = Ask(policies.policies_all)
    runs_held = Ask(policies.runs_held)
    erasing_next = Ask(policies.erasing_next)
    held_bytes = Ask(policies.held_bytes)
    content_end = Ask(content.content_end)
    content_bytes = Ask(policies.content_bytes)
    gives_back = Ask(reclaim.gives_back)
    age_kept = Ask(policies.age_kept)
    age_confirmed = Ask(policies.age_confirmed)
    age_keep = Ask(policies.age_keep, Where.BETWEEN_UNITS)
    unwiped = Ask(policies.unwiped)
    wiped = Ask(policies.wiped, Where.BETWEEN_UNITS)
    wipe = Ask(reclaim.wipe, Where.BETWEEN_UNITS)


class ErasingUnit:
    """A part of a unit of work."""

    _writer: Pool
    written: asyncio.Future[Any] | None

    async def hold(self, orgs: frozenset[int]) -> bool:
        """Nobody else writes here."""
        return True

    def erase(self, run: int) -> asyncio.Future[Erasing | None]:
        """A step of an erasure."""
        done = self._writer.submit(steps.erase_step, run)
        self.written = done
        return done

    def give_back(self) -> asyncio.Future[int]:
        """Free pages."""
        done = self._writer.submit(reclaim.give_back)
        self.written = done
        return done

    def sweep_content(self, before: tuple[int, int]) -> asyncio.Future[tuple[int, int] | None]:
        """Content that no event was stored with."""
        done = self._writer.submit(content.sweep_content, before)
        self.written = done
        return done
