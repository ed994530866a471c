"""A process that appends to a store until it is killed, and says after each commit what is acknowledged now.

Started with BACKEND LOCATION RUN as arguments: each line is the last position and seq of a commit that
has returned. Several commands go in at once, so that groups of every size are cut off.
"""

from __future__ import annotations

import asyncio
import sys

from tests.support.backends import AGAIN
from tests.support.factories import draft, traced
from tests.support.rig import QuietEngine
from towerlog.ambient import SystemClock, SystemIds
from towerlog.model.command import Append
from towerlog.model.outcome import Appended, Stored
from towerlog.model.principal import Principal, Scope

AT_ONCE = 4


async def append_for_ever(engine: QuietEngine, who: Principal, run: str, lane: int) -> None:
    """One command after the other; each acknowledgement is a line `event_id position seq`."""
    ids = SystemIds(SystemClock())
    while True:
        event_ids = [f"{lane}-{ids.token(16)}" for _ in range(1 + lane)]
        items = [draft(run=traced(run), data={"id": one}, event_id=one) for one in event_ids]
        outcome = await engine.execute(who, Append("steps", list(items)), "steps")
        assert isinstance(outcome, Appended)
        lines = []
        for one, result in zip(event_ids, outcome.results, strict=True):
            assert isinstance(result, Stored)
            lines.append(f"{one} {result.position} {result.seq}\n")
        sys.stdout.write("".join(lines))
        sys.stdout.flush()


async def main(backend: str, location: str, run: str) -> None:
    """Opens, appends, never ends."""
    clock = SystemClock()
    store = await AGAIN[backend](location).open(clock, SystemIds(clock))
    [org] = await store.orgs()
    engine = QuietEngine(store, clock, SystemIds(clock))
    await engine.start()
    who = Principal(org.org, org.org_id, "user", "key", frozenset(Scope))
    await asyncio.gather(*(append_for_ever(engine, who, run, lane) for lane in range(AT_ONCE)))


def program() -> None:
    """With the arguments of the command line."""
    asyncio.run(main(*sys.argv[1:]))
