"""Answers who wants a run or a thread erased, or wants to know what the policies would erase."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from towerlog.ambient import ServingTime
from towerlog.engine.erasure.age_clock import AgeClock
from towerlog.engine.erasure.content_size import HeldNow
from towerlog.engine.erasure.policies import check_ended
from towerlog.engine.erasure.steps import CarryingOut
from towerlog.errors import Conflict, NotFound
from towerlog.model.outcome import Outcome, RunChanged
from towerlog.model.principal import Principal
from towerlog.model.question import RunFilter
from towerlog.model.retention import (
    MAX_ERASED_RUNS,
    Erase,
    ErasedRun,
    EraseRun,
    EraseThread,
    ErasureReport,
    MarkErased,
    MarkThreadErased,
    RetentionDue,
    RetentionPass,
    RetentionPolicy,
    RunRetention,
    SetRetention,
)
from towerlog.model.run import RunRow
from towerlog.store.base import Store

COUNTED_RUNS = 1000
"""Runs that a dry run counts for each policy."""
RUNS_AT_ONCE = 200
Submit = Callable[[Principal, MarkErased | MarkThreadErased], Awaitable[Outcome]]


class ErasureRequests:
    """Of one engine."""

    def __init__(
        self, store: Store, serving: ServingTime, carrying_out: CarryingOut, held: HeldNow, age: AgeClock
    ) -> None:
        """`held` knows how much the organisations hold, `age` what is old."""
        self._store = store
        self._serving = serving
        self._carrying_out = carrying_out
        self._held = held
        self._age = age
        self.wanted = False
        """Somebody has asked for a pass of retention."""

    async def answer(self, principal: Principal, command: Erase, submit: Submit) -> ErasureReport | RetentionPass:
        """What was erased is durable when this returns; `submit` writes. Raises NotFound, Conflict."""
        match command:
            case EraseRun(run_id, children):
                row = await self._store.run(principal.org, run_id)
                if row is None:
                    raise NotFound("run")
                return await self._erase(principal, await self._with_below([row], children), submit)
            case EraseThread(thread_id, children):
                if await self._store.thread(principal.org, thread_id) is None:
                    raise NotFound("thread")
                rows = await self._with_below(await self._runs_of(principal.org, thread_id), children)
                report = await self._erase(principal, rows, submit)
                await submit(principal, MarkThreadErased(thread_id))
                return ErasureReport(report.runs, thread_id, report.erased_at)
            case RunRetention(True, SetRetention(kind, max_age_ms, max_bytes)):
                wanted = RetentionPolicy(principal.org, kind, max_age_ms, max_bytes)
                return RetentionPass([await self._due(wanted)])
            case RunRetention(dry_run):
                due = [await self._due(one) for one in await self._store.policies_of(principal.org)]
                self.wanted = self.wanted or not dry_run
                return RetentionPass(due)
            case _:
                assert_never(command)

    async def _erase(self, principal: Principal, rows: list[RunRow], submit: Submit) -> ErasureReport:
        for row in rows:  # all or none, as far as that can be told before
            check_ended(row)
        erased = []
        for row in rows:
            done = await submit(principal, MarkErased(row.run_id))
            found = await self._carrying_out.finish(row.run)
            counts = {} if found is None else found.counts
            assert isinstance(done, RunChanged)
            erased.append(ErasedRun(row.run_id, counts))
        return ErasureReport(erased, None, self._serving.clock.now_ms())

    async def _with_below(self, rows: list[RunRow], children: bool) -> list[RunRow]:
        """Runs, and those below them where these are wanted; each once. Raises Conflict for too many."""
        found = {row.run: row for row in rows}
        for row in rows if children else ():
            below = await self._store.run_descendants(row.org, row, MAX_ERASED_RUNS + 1)
            found |= {one.run: one for one in below}
            _check_count(found)
        return list(found.values())

    async def _runs_of(self, org: int, thread_id: str) -> list[RunRow]:
        found: list[RunRow] = []
        before: int | None = None
        while page := await self._store.runs(org, RunFilter(thread_id=thread_id), RUNS_AT_ONCE, before):
            found += page
            before = page[-1].run
            _check_count(found)
        return found

    async def _due(self, policy: RetentionPolicy) -> RetentionDue:
        """What a policy would erase: by age, or where there is too much."""
        held = None if policy.max_bytes is None else await self._held.of(policy.org, policy.kind)
        runs: list[RunRow] = []
        if policy.max_age_ms is not None:
            before = await self._age.before(policy.max_age_ms)
            runs = await self._store.runs_held(policy.org, policy.kind, before, COUNTED_RUNS + 1)
        if held is not None and policy.max_bytes is not None and held > policy.max_bytes:
            first: list[RunRow] = await self._store.runs_held(policy.org, policy.kind, None, COUNTED_RUNS + 1)
            # Both begin with the runs that ended first: what is old goes first, and makes room.
            runs = max(runs, first[: max(1, len(first) * (held - policy.max_bytes) // held)], key=len)
        oldest = runs[0].ended_at if runs else None
        return RetentionDue(policy, min(len(runs), COUNTED_RUNS), len(runs) > COUNTED_RUNS, oldest, held)


def _check_count(found: object) -> None:
    if len(found) > MAX_ERASED_RUNS:  # type: ignore[arg-type]  # a list or a dictionary
        raise Conflict(f"There are more than {MAX_ERASED_RUNS} runs: erase them run by run, or set a policy.")
