"""Opens followers: where each begins, what it reads from the store, and when it has come to its end."""

from __future__ import annotations

from functools import partial

from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.follower import Follower, Source
from towerlog.engine.follow.hub import Hub
from towerlog.engine.follow.subjects import AGENT, AGENT_LOG, RUN, USER, Subject
from towerlog.engine.queries.events import position_of
from towerlog.engine.queries.reads import Reads
from towerlog.errors import NotFound
from towerlog.model.event import DamagedEvent, Event, Logged
from towerlog.model.principal import Principal
from towerlog.model.question import FollowAgent, FollowRun, Listen, ListenKind
from towerlog.model.run import RunRow
from towerlog.store.base import Store


async def follow_run(
    hub: Hub, reads: Reads, store: Store, principal: Principal, command: FollowRun, style: FrameStyle
) -> Follower:
    """Follows a run by seq; ends when the run has ended. Raises NotFound."""
    row = await reads.run_of(principal, command.run_id)
    org, run = principal.org, row.run

    async def ended() -> RunRow | None:
        current = await reads.run_of(principal, command.run_id)
        return current if current.is_terminal() else None

    async def page(after: int, limit: int) -> list[Logged]:
        return await store.events(org, run, after, limit, None, row.last_seq)

    async def unreadable(after: int) -> list[Logged]:
        last = (await reads.run_of(principal, command.run_id)).last_seq
        return _lost(store, DamagedEvent(org, 0, run, last, after + 1, "cannot be read")) if last > after else []

    async def end_event(ended_row: RunRow) -> Event | None:
        found = await store.events_at(org, run, [] if ended_row.ended_seq is None else [ended_row.ended_seq])
        event = found.get(ended_row.ended_seq or 0)
        return event if isinstance(event, Event) else None

    runs_of = partial(store.runs_by_number, org)
    source = Source(page, ended, runs_of, unreadable, store.epoch, end_event if style.with_end else None)
    # Who has a cursor past the end has it of another log, or of another run: that is told so, and gets everything.
    after, preface = command.after_seq, b"" if style.begin is None else style.begin(row)
    is_of_other = command.epoch not in (None, store.epoch) or after > row.last_seq
    if is_of_other or await _is_of_earlier_log(store, row, command):
        after, preface = 0, preface + style.other_log
    return await hub.follow((RUN, run), style, source, after, command.follow, preface)


async def follow_agent(
    hub: Hub, store: Store, principal: Principal, command: FollowAgent, style: FrameStyle
) -> Follower:
    """Follows an agent's feed by position; it has no end. Raises NotFound, Invalid for what is no cursor."""
    agent = await store.agent(principal.org, command.agent_id)
    if agent is None:
        raise NotFound("agent")
    org, number = principal.org, agent.agent
    after = None if command.after is None else position_of(command.after, store.epoch)
    if after is not None and after > await _newest_position(store, org):
        after = None
    preface = b""
    if after is None:
        after = await _tail_start(store, org, number, command.tail)
        preface = b"" if command.after is None else style.other_log

    async def ended() -> RunRow | None:
        return None

    async def page(after: int, limit: int) -> list[Logged]:
        return await store.feed(org, number, limit, after)

    async def unreadable(after: int) -> list[Logged]:
        last = await store.feed_start(org, number, 1) or 0
        return _lost(store, DamagedEvent(org, last, 0, 0, 0, "cannot be read")) if last > after else []

    source = Source(page, ended, lambda runs: store.runs_by_number(org, runs), unreadable, store.epoch)
    return await hub.follow((AGENT, number), style, source, after, True, preface)


async def subject_of(reads: Reads, store: Store, principal: Principal, command: Listen) -> Subject:
    """What is meant to be listened to. Raises NotFound for what its caller may not know of."""
    match command.kind:
        case ListenKind.USER:
            if command.name != principal.user_id:
                raise NotFound("user")
            return USER, principal.user_id
        case ListenKind.RUN:
            return RUN, (await reads.run_of(principal, command.name)).run
        case ListenKind.AGENT:
            agent = await store.agent(principal.org, command.name)
            if agent is None:
                raise NotFound("agent")
            return AGENT_LOG, agent.agent


async def _is_of_earlier_log(store: Store, row: RunRow, command: FollowRun) -> bool:
    """Whether a bare seq was given out by the log that this one is a copy of, for an event that was not copied.

    A copy names itself in the ids of its frames, so that a bare one is of the first log. Up to where that was copied
    both have the same events; a seq behind it that somebody has typed means this log, if the run has come that far.
    """
    copied = store.copied_positions
    if copied is None or command.epoch is not None or not command.after_seq or not command.is_reconnect:
        return False
    found = (await store.events_at(row.org, row.run, [command.after_seq])).get(command.after_seq)
    return found is None or found.position > copied.get(row.org, 0)


async def _newest_position(store: Store, org: int) -> int:
    """The position of an organisation's newest event. Erasure does not take it back, as it may a feed's newest."""
    return (await store.counters(org)).position


def _lost(store: Store, event: DamagedEvent) -> list[Logged]:
    store.damages.note(event)
    return [event]


async def _tail_start(store: Store, org: int, agent: int, tail: int) -> int:
    """The position that the newest `tail` events of a feed come after."""
    start = await store.feed_start(org, agent, max(tail, 1))
    if start is None:
        return 0
    return start - 1 if tail else start
