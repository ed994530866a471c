"""Rows: what the folds make of the log (runs, threads, agents, usage, checkpoints), and kept replies.

Laws:

* A row is written whole; the last one of a unit stands. Usage alone is written as increments, added to what is there,
  where unknown plus a figure is the figure and unknown plus unknown stays unknown.
* A run, thread or agent keeps its number and its ids for good.
* A reply is found by its organisation and name until it is dropped for its age.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow
from towerlog.model.run_text import RunText
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import RunSum, UsageRow
from towerlog.store.values import Durations, Found, RunWithState, UsageSpan


class RowStore(Protocol):
    """Reads of rows."""

    async def run(self, org: int, run_id: str) -> RunRow | None:
        """One run by its UUID."""
        ...

    async def run_ids_beginning(self, org: int, prefix: str, limit: int) -> list[str]:
        """The first `limit` run ids of this organisation that begin with `prefix`, in order."""
        ...

    async def runs(self, org: int, wanted: RunFilter, limit: int, before: int | None) -> Found[RunRow]:
        """Runs below number `before`, newest first. Raises Invalid for a search that takes too long."""
        ...

    async def run_facets(self, org: int, wanted: RunFilter) -> dict[str, list[tuple[str | None, int]] | None]:
        """`status`, `agent`, `model`, `persona_id` → (value, how many runs), the most first and at most 100; None for
        one that would take too long."""
        ...

    async def run_durations(self, org: int, by: str, wanted: RunFilter, limit: int) -> list[Durations] | None:
        """How long ended runs took, by `hour`, `day` (newest first), `agent`, `model`, `status` or `thread` (most
        runs first), at most `limit`; None where that would take too long."""
        ...

    async def run_sums(self, org: int, by: str, wanted: RunFilter, limit: int) -> list[RunSum] | None:
        """What runs have used, grouped as for `run_durations`, the dearest first; None where that would take too
        long."""
        ...

    async def runs_by_number(self, org: int, numbers: Sequence[int]) -> dict[int, RunRow]:
        """Runs of this organisation by their numbers."""
        ...

    async def run_texts(self, org: int, numbers: Sequence[int]) -> dict[int, RunText]:
        """What runs of this organisation say in words, by their numbers; what was not kept is left out."""
        ...

    async def run_ids_of_parents(self, org: int, children: Sequence[RunRow]) -> dict[int, str]:
        """The parent's run id by the child's number; where there is no parent, or none is known, the child is left out.

        `trace:…` means the child's own thread's run of that trace, else the newest of that trace in any thread; a run
        is no child of its own.
        """
        ...

    async def run_children(self, org: int, run: RunRow, limit: int) -> Found[RunRow]:
        """Direct children, oldest first."""
        ...

    async def run_descendants(self, org: int, run: RunRow, limit: int) -> list[RunRow]:
        """All runs below a run, ended or not, level by level, at most `limit`; never the run itself."""
        ...

    async def thread(self, org: int, thread_id: str) -> ThreadRow | None:
        """One thread."""
        ...

    async def threads(self, org: int, limit: int, before: str | None) -> Found[ThreadRow]:
        """Threads, newest first; `before` is a thread id."""
        ...

    async def agent(self, org: int, agent_id: str) -> AgentRow | None:
        """One agent by UUID."""
        ...

    async def agents(self, org: int, limit: int, after: str | None, name: str | None) -> Found[AgentRow]:
        """Agents by name; `after` is a name."""
        ...

    async def agents_named(self, org: int, names: Iterable[str]) -> dict[str, AgentRow]:
        """Agents by their names; absent ones are left out."""
        ...

    async def agents_by_number(self, org: int, numbers: Sequence[int]) -> list[AgentRow]:
        """Agents of this organisation by their numbers."""
        ...

    async def usage_by(self, org: int, by: str, span: UsageSpan, limit: int) -> list[UsageRow]:
        """The sums of roll-up cells by `hour`, `agent` or `model`, in the order of that.

        What they are not grouped by is empty in them, as is the status.
        """
        ...

    async def thread_states(self, org: int, thread_id: str, initial: bool) -> list[RunWithState]:
        """Runs of a thread that have a checkpoint, newest first: of the newest until MAX_OWN_STATES of them are no
        children or MAX_STATES were seen, one that is no child in any case; and of the newest MAX_STATES open ones.

        `initial`: those that have one that their start wrote; else those that have one that an agent wrote.
        """
        ...

    async def run_of_trace(self, org: int, thread_id: str, trace_id: str) -> RunRow | None:
        """The newest run of a trace in a thread; of those with a checkpoint that an agent wrote, if there are any."""
        ...

    async def checkpoints_at(self, org: int, keys: Sequence[tuple[int, str, int]]) -> list[CheckpointRow]:
        """Checkpoints by (run, agent, step_index); absent ones are left out."""
        ...

    async def checkpoint_latest_of_run(self, org: int, run: int) -> CheckpointRow | None:
        """A run's state to resume from: its highest step; written by an agent before initial."""
        ...

    async def checkpoints(self, org: int, run: int, limit: int, after: tuple[int, str] | None) -> Found[CheckpointRow]:
        """A run's checkpoints by (step, agent)."""
        ...

    async def replies_drop(self, before_ms: int, limit: int) -> int:
        """Forgets replies of Idempotency-Keys that are older than this, at most so many; how many. Meanwhile no unit is
        open, so whoever has many to drop does so in several calls."""
        ...
