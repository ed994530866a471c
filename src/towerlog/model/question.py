"""Questions: the commands that only read, which do not pass the writer, and the streams.

`model/command.py` has the writing half and the whole set.
"""

from __future__ import annotations

import msgspec

from towerlog.model.persona import GetPersona, GetRoute, ListPersonas, ListRoutes
from towerlog.model.run import Status


class RunFilter(msgspec.Struct, frozen=True, gc=False):
    """Conditions that must all hold; None: no condition."""

    statuses: tuple[Status, ...] | None = None
    agent: str | None = None
    thread_id: str | None = None
    model: str | None = None
    persona_id: str | None = None
    parent_run_id: str | None = None
    since: int | None = None
    until: int | None = None
    q: str | None = None
    """Part of a run, thread, trace or foreign id, or of the agent's name; case does not matter."""


class ListRuns(msgspec.Struct, frozen=True, gc=False):
    """Runs, newest first. `before` is the run id of the last row seen; an unknown one is refused."""

    filter: RunFilter
    limit: int
    before: str | None = None
    given_as: str = "before"
    """What its sender calls that, for the refusal."""


class GetRun(msgspec.Struct, frozen=True, gc=False):
    """One run. `tree`: with its descendants."""

    run_id: str
    tree: bool = False


class FindRuns(msgspec.Struct, frozen=True, gc=False):
    """The ids of runs that begin with `prefix` (lower case, dashes in their places), in the order of the ids."""

    prefix: str
    limit: int


class ListThreads(msgspec.Struct, frozen=True, gc=False):
    """Threads, newest first. `before` is a thread id."""

    limit: int
    before: str | None = None


class GetThread(msgspec.Struct, frozen=True, gc=False):
    """One thread."""

    thread_id: str


class ListThreadRuns(msgspec.Struct, frozen=True, gc=False):
    """The runs of a thread that must exist, newest first."""

    thread_id: str
    limit: int


class LatestCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """The state that a thread resumes from, or that of one of its runs."""

    thread_id: str
    trace_id: str | None = None
    """The run's; None for that of the thread's own runs which was stored last."""
    agent: str | None = None
    """Whose checkpoint, where several agents report into the run; None for the newest."""


class ListApprovals(msgspec.Struct, frozen=True, gc=False):
    """Checkpoints that wait for approval, the oldest first."""

    limit: int


class ListCheckpoints(msgspec.Struct, frozen=True, gc=False):
    """The checkpoints of a run by step."""

    run_id: str
    limit: int
    after: tuple[int, str] | None = None
    """(step_index, agent) of the last one seen."""


class GetCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """One checkpoint with its history."""

    run_id: str
    step_index: int
    agent: str | None = None


class ListEvents(msgspec.Struct, frozen=True, gc=False):
    """A page of a run's log. `quarantined`: of what was refused from workers without the lease, instead."""

    run_id: str
    limit: int
    after_seq: int = 0
    types: tuple[str, ...] | None = None
    quarantined: bool = False


class Tail(msgspec.Struct, frozen=True, gc=False):
    """The newest `limit` events of an agent's feed, or those after a cursor (text, as it was sent)."""

    agent_id: str
    limit: int
    after: str | None = None


class ListAgents(msgspec.Struct, frozen=True, gc=False):
    """Agents by name. `after` is the last name seen; `name`: only that one."""

    limit: int
    after: str | None = None
    name: str | None = None


class GetAgent(msgspec.Struct, frozen=True, gc=False):
    """One agent by UUID."""

    agent_id: str


class ListLanes(msgspec.Struct, frozen=True, gc=False):
    """Lanes in the queue or held, oldest first; or (`statuses`) those of runs in one of these, newest first.

    At most `limit` are shown. The encoder cuts: several words of the dialect mean one status, and it filters by them.
    """

    limit: int
    statuses: tuple[Status, ...] | None = None


class ListWorkers(msgspec.Struct, frozen=True, gc=False):
    """Workers with the lanes that they hold; `worker_id`: only that one."""

    limit: int
    worker_id: str | None = None


class ListKeys(msgspec.Struct, frozen=True, gc=False):
    """The organisation's keys, newest first."""

    limit: int
    before: str | None = None


class GetUsage(msgspec.Struct, frozen=True, gc=False):
    """Roll-ups between two times (ms), grouped `by` hour, agent or model."""

    by: str
    limit: int
    since: int | None = None
    until: int | None = None
    agent: str | None = None
    model: str | None = None
    after: str | None = None


# Streams


class FollowRun(msgspec.Struct, frozen=True, gc=False):
    """A run's events after a seq. `follow` False: end when all stored events were sent.

    `epoch`: the log that the cursor belongs to, if it says so; None: this one.
    `is_reconnect`: the cursor is the id of the last event that this reader has received.
    """

    run_id: str
    after_seq: int = 0
    follow: bool = True
    epoch: str | None = None
    is_reconnect: bool = False


class FollowAgent(msgspec.Struct, frozen=True, gc=False):
    """An agent's feed: after a cursor, else from the newest `tail` events on; then live."""

    agent_id: str
    tail: int
    after: str | None = None


Read = (
    ListRuns
    | GetRun
    | FindRuns
    | ListThreads
    | GetThread
    | ListThreadRuns
    | LatestCheckpoint
    | ListApprovals
    | ListCheckpoints
    | GetCheckpoint
    | ListEvents
    | Tail
    | ListAgents
    | GetAgent
    | ListLanes
    | ListWorkers
    | ListKeys
    | GetUsage
    | ListPersonas
    | GetPersona
    | ListRoutes
    | GetRoute
)
Stream = FollowRun | FollowAgent
