"""The contract of a store, with its laws. Nothing here knows a business rule, nothing above knows a backend.

Laws, each a test in `tests/contract/`:

* **One unit, one transaction.** What stands in a `Changes` is committed and on stable storage together, or not at all.
* **Positions rise by commit order** inside an organisation; **seq is dense** in a run. Both are given by the engine
  from what `begin()` showed it, and the store refuses a second event at the same place.
* **An event id appends once** per run, for the run's life.
* **Every look-up is by organisation and key.** A row of another organisation is absent.
* **After is exclusive.** A page after a cursor never repeats the cursor's own row and never skips one.
* Storage errors leave as `StorageFailed`; rows leave as frozen values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import Event, RunRef
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.principal import Counters, Org, User
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import UsageRow
from towerlog.store.values import Changes, Content, KeyFound, Loaded, Quarantined, Rows, StoredReply, Wanted


class Unit(Protocol):
    """A unit of work: a consistent view for planning, then one commit. At most one is open in a process."""

    async def counters(self, org: int) -> Counters:
        """The numbers given out so far."""
        ...

    async def runs_by_ref(self, wanted: Sequence[tuple[int, RunRef]]) -> list[RunRow | None]:
        """The run of each (org, reference), None where there is none; `reopen` is ignored here."""
        ...

    async def runs_by_number(self, numbers: Sequence[int]) -> dict[int, RunRow]:
        """Runs by their numbers."""
        ...

    async def runs_of_thread(self, org: int, thread_id: str, limit: int) -> list[RunRow]:
        """A thread's newest runs, newest first."""
        ...

    async def run_descendants(self, org: int, run: RunRow, limit: int) -> list[RunRow]:
        """Open runs below this one, children before grandchildren."""
        ...

    async def threads(self, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], ThreadRow]:
        """Threads by (org, thread id); absent ones are left out."""
        ...

    async def agents_by_name(self, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], AgentRow]:
        """Agents by (org, name); absent ones are left out."""
        ...

    async def agent_by_id(self, org: int, agent_id: str) -> AgentRow | None:
        """One agent by UUID."""
        ...

    async def events_by_id(self, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Event]:
        """Events by (run, event id); absent ones are left out."""
        ...

    async def checkpoint(self, run: int, agent: str, step_index: int) -> CheckpointRow | None:
        """One checkpoint row."""
        ...

    async def checkpoints_waiting(self, org: int, trace_id: str, step_index: int) -> list[CheckpointRow]:
        """The checkpoints of that step in runs of that trace, newest run first."""
        ...

    async def nodes_known(self, org: int, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these history nodes are stored."""
        ...

    async def metas_known(self, org: int, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these meta lists are stored."""
        ...

    async def lanes(self, runs: Sequence[int]) -> dict[int, Lane]:
        """Lanes by run number; absent ones are left out."""
        ...

    async def lane_claimable(
        self, org: int, agents: Collection[str] | None, labels: Mapping[str, str], now_ms: int, taken: Collection[int]
    ) -> Lane | None:
        """The queued lane with the lowest place that a worker may take, else such a held one that ran out.

        It serves these agents (None: any) and has all labels of the lane; `taken` are run numbers to pass over. Lanes
        that do not fit cost nothing by their number, only by how many different sets of labels they ask for.
        """
        ...

    async def lanes_expired(self, now_ms: int, limit: int) -> list[Lane]:
        """Held lanes of any organisation whose lease ran out, oldest deadline first."""
        ...

    async def runs_cancelling(self, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Runs of any organisation that are being cancelled, by (wall ms of the request, run number)."""
        ...

    async def runs_unheard(self, noted: bool, before_ms: int, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Watched runs of any organisation whose `watched_at` is no later, by (`watched_at`, run number).

        `noted`: those that owe no word, or whose silence was noted; else the others.
        """
        ...

    async def reply(self, org: int, name: str) -> StoredReply | None:
        """The stored reply of an Idempotency-Key."""
        ...

    async def key(self, org: int, key_id: str) -> Key | None:
        """One API key."""
        ...

    async def persona(self, org: int, persona_key: str, version: str | None) -> Persona | None:
        """One version of a persona; None for the one that was made last."""
        ...

    async def route(self, org: int, route_id: str) -> ProviderRoute | None:
        """The newest version of a route."""
        ...

    async def load(self, wanted: Wanted, now_ms: int) -> Loaded:
        """All of it in one question. `now_ms` (steady clock) tells which leases have run out."""
        ...

    async def commit(self, changes: Changes) -> None:
        """Writes all of it durably, in one transaction. Raises StorageFailed, and then nothing is written."""
        ...


class Store(Protocol):
    """A backend, opened. Reading methods may run at any time, beside a unit."""

    name: str
    exclusive: bool
    """True when no other process writes runs: rows may then be cached between units."""
    epoch: str
    """Names this log; a restored or recreated one has another."""

    def begin(self) -> AbstractAsyncContextManager[Unit]:
        """A unit of work."""
        ...

    async def close(self) -> None:
        """Finishes what is under way and lets go of the files."""
        ...

    async def ping(self) -> None:
        """Raises StorageFailed unless the store answers."""
        ...

    # identities

    async def orgs(self) -> list[Org]:
        """All organisations, oldest first."""
        ...

    async def org_create(self, org: Org, user: User, key: Key) -> Org:
        """A new organisation with its first user and key; its number is given by the store."""
        ...

    async def key_by_digest(self, digest: bytes) -> KeyFound | None:
        """The key with this SHA-256, revoked or not."""
        ...

    async def keys(self, org: int, limit: int, before: str | None) -> list[Key]:
        """Keys, newest first; `before` is a key id."""
        ...

    async def key_by_id(self, org: int, key_id: str) -> Key | None:
        """One API key, revoked or not."""
        ...

    async def key_put(self, key: Key) -> None:
        """Writes a key (new, or revoked now) at once."""
        ...

    async def users(self, org: int, user_ids: Iterable[str]) -> dict[str, User]:
        """Users by id."""
        ...

    async def persona(self, org: int, persona_key: str, version: str | None) -> Persona | None:
        """One version of a persona; None for the one that was made last."""
        ...

    async def personas(self, org: int, limit: int, before: int | None) -> list[Persona]:
        """Versions of personas below a number, newest first."""
        ...

    async def route(self, org: int, route_id: str) -> ProviderRoute | None:
        """The newest version of a route."""
        ...

    async def routes(self, org: int, limit: int, before: int | None) -> list[ProviderRoute]:
        """Versions of routes below a number, newest first."""
        ...

    # runs and threads

    async def run(self, org: int, run_id: str) -> RunRow | None:
        """One run by its UUID."""
        ...

    async def runs(self, org: int, wanted: RunFilter, limit: int, before: int | None) -> list[RunRow]:
        """Runs below number `before`, newest first."""
        ...

    async def runs_by_number(self, org: int, numbers: Sequence[int]) -> dict[int, RunRow]:
        """Runs of this organisation by their numbers."""
        ...

    async def run_ids_of_parents(self, org: int, children: Sequence[RunRow]) -> dict[int, str]:
        """The parent's run id by the child's number; where there is no parent, or none is known, the child is left out.

        `trace:…` means the child's own thread's run of that trace, else the newest of that trace in any thread; a run
        is no child of its own.
        """
        ...

    async def run_children(self, org: int, run: RunRow, limit: int) -> list[RunRow]:
        """Direct children, oldest first."""
        ...

    async def thread(self, org: int, thread_id: str) -> ThreadRow | None:
        """One thread."""
        ...

    async def threads(self, org: int, limit: int, before: str | None) -> list[ThreadRow]:
        """Threads, newest first; `before` is a thread id."""
        ...

    # the log

    async def events(
        self, org: int, run: int, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> list[Event]:
        """A run's events after a seq, in order; fewer than `limit` when their bodies fill `PAGE_BODY_BYTES` before."""
        ...

    async def events_at(self, org: int, run: int, seqs: Sequence[int]) -> dict[int, Event]:
        """Some events of a run by their seqs."""
        ...

    async def feed(self, org: int, agent: int, limit: int, after: int | None) -> list[Event]:
        """An agent's feed, oldest first: after a position, or (None) the newest."""
        ...

    async def feed_start(self, org: int, agent: int, tail: int) -> int | None:
        """The position of the oldest of a feed's newest `tail` events, without reading them; None for an empty feed."""
        ...

    async def log(self, org: int, after: int, limit: int) -> list[Event]:
        """The organisation's whole log after a position, in order."""
        ...

    async def quarantined(self, org: int, run: int, limit: int, after: int) -> list[tuple[int, Quarantined]]:
        """What was refused to workers without the lease, with a rising number each."""
        ...

    # agents and usage

    async def agent(self, org: int, agent_id: str) -> AgentRow | None:
        """One agent by UUID."""
        ...

    async def agents(self, org: int, limit: int, after: str | None, name: str | None) -> list[AgentRow]:
        """Agents by name; `after` is a name."""
        ...

    async def agents_named(self, org: int, names: Iterable[str]) -> dict[str, AgentRow]:
        """Agents by their names; absent ones are left out."""
        ...

    async def usage(
        self, org: int, since_hour: int, until_hour: int, agent: str | None, model: str | None
    ) -> list[UsageRow]:
        """Roll-up cells between two hours (the first inclusive, the second not)."""
        ...

    # checkpoints

    async def checkpoint_latest(self, org: int, thread_id: str) -> CheckpointRow | None:
        """The thread's state to resume from: newest run first, highest step; written by an agent before initial."""
        ...

    async def checkpoint_latest_of_run(self, org: int, run: int) -> CheckpointRow | None:
        """The same for one run."""
        ...

    async def checkpoints(self, org: int, run: int, limit: int, after: tuple[int, str] | None) -> list[CheckpointRow]:
        """A run's checkpoints by (step, agent)."""
        ...

    async def approvals(self, org: int, limit: int) -> list[CheckpointRow]:
        """Checkpoints of open runs that wait for approval, oldest first."""
        ...

    async def history(self, org: int, node: bytes, length: int) -> list[bytes]:
        """The messages of the history that ends in this node."""
        ...

    async def content(self, org: int, kind: str, after: int, limit: int) -> list[tuple[int, Content]]:
        """All messages, nodes or metas (`kind`) of an organisation, with a rising number each."""
        ...

    async def metas(self, org: int, key: bytes) -> list[bytes]:
        """The bodies of a meta list, first to last."""
        ...

    # lanes

    async def lane(self, org: int, run: int) -> Lane | None:
        """One lane."""
        ...

    async def lanes(self, org: int, limit: int, statuses: Sequence[Status] | None = None) -> list[Lane]:
        """Lanes that are not done, oldest first; or (`statuses`) those of runs in one of these, newest first."""
        ...

    async def lanes_held(self, org: int, limit: int) -> list[Lane]:
        """Held lanes, oldest first; those among them whose lease ran out too."""
        ...

    async def lane_counts(self, org: int) -> tuple[int, int, int | None]:
        """(queued, held, oldest queued_at)."""
        ...

    # upkeep

    async def replies_drop(self, before_ms: int) -> None:
        """Forgets the replies of Idempotency-Keys older than this."""
        ...

    async def run_trim(self, org: int, run: int, before_seq: int) -> None:
        """Drops a run's events below a seq; what is left keeps its seq."""
        ...

    async def rows(self, org: int) -> Rows:
        """Every projection row, as of one moment."""
        ...
