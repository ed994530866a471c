"""The check of an organisation's log: is it whole, and do the projections follow from it?

`verify_org` refolds everything in memory and compares; `rebuild_org` writes what it refolded. Content (messages,
history nodes), lanes and identities are no projections: they are checked where the log points at them, never rebuilt.
Nor is the audit, whose chain is checked by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from towerlog.engine.audit.chain import check_audit
from towerlog.engine.control.lanes_anew import lanes_anew
from towerlog.engine.erasure.unfinished import Unfinished
from towerlog.engine.ingest.content import own_name
from towerlog.engine.plan.run_texts import told as told_text
from towerlog.errors import Damaged, StorageFailed
from towerlog.model.agent import AgentRow
from towerlog.model.audit import AuditEntry
from towerlog.model.chain import fits
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import Event
from towerlog.model.facts import Erases
from towerlog.model.folds import FOLDS
from towerlog.model.run import RunRow
from towerlog.model.run_text import RunText
from towerlog.model.thread import ThreadRow
from towerlog.model.times import format_ms
from towerlog.model.tombstone import as_folded, covers
from towerlog.model.usage import UsageRow
from towerlog.projections import agents as agent_fold
from towerlog.projections import approvals as approval_fold
from towerlog.projections import checkpoints as checkpoint_fold
from towerlog.projections import runs as run_fold
from towerlog.projections import threads as thread_fold
from towerlog.projections import usage as usage_fold
from towerlog.projections.computed_costs import Correction, UsageKey, corrections
from towerlog.store.base import Store
from towerlog.store.columns.order import OutOfOrder
from towerlog.store.content import Content
from towerlog.store.values import Changes, Rows, RunChange

PAGE_EVENTS = 1000
_plain = msgspec.json.encode
Report = Callable[[str], None]
Progress = Callable[[int], None]
"""Told how many events have been read."""


class Refold:
    """Projections folded anew from the log, in memory."""

    def __init__(self, agents: list[AgentRow], threads: list[ThreadRow], report: Report) -> None:
        """Identities (agents, threads) are given; everything counted in them begins at nothing."""
        self._report = report
        self.differences = 0
        self.log_faults: list[str] = []
        """Differences of the log itself."""
        self.events = 0
        """Events that could be read."""
        self.is_broken_off = False
        """What stands behind a place of the log could not be read."""
        self.runs: dict[int, RunRow] = {}
        self.threads = {row.thread_id: thread_fold.unfolded(row) for row in threads}
        self.agents = {row.agent: agent_fold.unfolded(row) for row in agents}
        self.usage: dict[UsageKey, UsageRow] = {}
        self.checkpoints: dict[tuple[int, str, int], CheckpointRow] = {}
        self.texts: dict[int, RunText] = {}
        self.unfinished = Unfinished()
        self._steps: dict[int, set[tuple[int, str, int]]] = {}
        """Keys of `checkpoints` by run."""
        self._last_position = 0
        self._tombstones: dict[int, list[Event]] = {}
        """Of each run those that no event after them has told of yet."""
        self._chain: dict[int, tuple[int, bytes]] = {}

    def differ(self, what: str) -> None:
        """Notes one difference."""
        self.differences += 1
        self._report(what)

    def lack(self, what: str) -> None:
        """Notes one of the log itself, which no rebuild can mend."""
        self.log_faults.append(what)
        self.differ(what)

    def run_name(self, number: int, first: Event | None = None) -> str:
        """A run by the id that people look it up by; `first`: an event that may be its first, not folded yet."""
        row, origin = self.runs.get(number), None if first is None else first.effects.origin
        run_id = row.run_id if row is not None else None if origin is None else origin.run_id
        return f"a run without a beginning (number {number})" if run_id is None else f"run {run_id}"

    def take(self, event: Event) -> None:
        """Checks an event's place and hash, then folds it."""
        self.events += 1
        before = self.runs.get(event.run)
        self._check(event)
        if before is None and event.effects.origin is None:
            self.lack(f"position {event.position}: its run has no beginning in the log")
            return
        agent = self.agents.get(event.agent)
        name = None if agent is None else agent.name
        self.unfinished.take(event, "" if before is None else before.run_id)
        event = as_folded(event)
        base = run_fold.begin(event) if before is None else before
        after = self.runs[event.run] = run_fold.fold(base, event, name)
        key = usage_fold.key_of(after, event, name)
        self.usage[key] = usage_fold.fold(self.usage.get(key), key, before, after, event)
        for shift in usage_fold.shifts(before, after, event, name):
            self.usage[shift[0]] = usage_fold.shifted(self.usage.get(shift[0]), shift)
        if agent is not None:
            self.agents[agent.agent] = agent_fold.fold(agent, before, after, event)
        for correction in corrections(before, after, event, name):
            self._correct(correction)
        self._take_text(told_text(before, after, event))
        if checkpoint_fold.is_kept(event, after):
            self._take_checkpoint(event, before, after, name or "unknown")
        self._take_thread(event, before, base, after, name)
        if event.effects.erases is not None:
            self._take_erasure(event, event.effects.erases)

    def _take_text(self, told: RunText | None) -> None:
        if told is not None:
            known = self.texts.get(told.run)
            self.texts[told.run] = (told if known is None else known.with_told(told)).whole()

    def _take_erasure(self, event: Event, scope: Erases) -> None:
        """What an event tells of was erased: the tombstones before it are rightly there, and checkpoints are gone."""
        left = [one for one in self._tombstones.pop(event.run, []) if not covers(scope, one)]
        if left:
            self._tombstones[event.run] = left
        if scope is not Erases.DELTAS:
            for key in self._steps.pop(event.run, ()):
                del self.checkpoints[key]

    def end(self) -> None:
        """After the last event: whatever was erased, something in its run must have said so."""
        for run, left in self._tombstones.items():
            first = left[0]
            self.lack(f"position {first.position}: its content is gone, and nothing in {self.run_name(run)} tells why")

    def _correct(self, correction: Correction) -> None:
        key = correction.key
        self.usage[key] = usage_fold.corrected(self.usage.get(key), correction)
        agent = next((row for row in self.agents.values() if row.name == key[2]), None)
        if agent is not None:
            self.agents[agent.agent] = agent_fold.corrected(agent, correction)

    def _take_thread(self, event: Event, before: RunRow | None, base: RunRow, after: RunRow, name: str | None) -> None:
        report = event.effects.report
        if report is not None and report.process is not None:
            thread = thread_fold.count_cost(self._thread(event, base.thread_id), base, after, event, name)
            self.threads[base.thread_id] = thread
        if after.thread_id != base.thread_id:
            self._move(event, base, after)
        if before is None or before.status is not after.status:
            thread = thread_fold.fold(self._thread(event, after.thread_id), before, after, event)
            self.threads[after.thread_id] = thread

    def _thread(self, event: Event, thread_id: str) -> ThreadRow:
        return self.threads.get(thread_id) or ThreadRow(event.org, thread_id, event.recorded_at)

    def _move(self, event: Event, before: RunRow, after: RunRow) -> None:
        """A run, with its checkpoints, moves to the thread that an event names."""
        left = thread_fold.left(self._thread(event, before.thread_id), before)
        self.threads.pop(before.thread_id, None)
        if left is not None:
            self.threads[before.thread_id] = left
        thread = self._thread(event, after.thread_id)
        self.threads[after.thread_id] = thread_fold.joined(thread, after, event)
        for key in self._steps.get(event.run, ()):
            self.checkpoints[key] = self.checkpoints[key].in_thread(after.thread_id)

    def _take_checkpoint(self, event: Event, before: RunRow | None, after: RunRow, agent: str) -> None:
        facts = event.effects.checkpoint
        if facts is None:
            return
        agent = facts.agent or agent
        step = checkpoint_fold.step_left(before, event, agent)
        waited = None if step is None else self.checkpoints.get((event.run, agent, step))
        if waited is not None:
            self.checkpoints[waited.run, waited.agent, waited.step_index] = checkpoint_fold.left(waited, event)
        key = (event.run, agent, facts.step_index)
        changed = checkpoint_fold.fold(self.checkpoints.get(key), event, after, agent)
        if changed is not None:
            self.checkpoints[key] = changed
            self._steps.setdefault(event.run, set()).add(key)

    def _check(self, event: Event) -> None:
        if event.position <= self._last_position:
            self.lack(f"position {event.position} does not rise")
        self._last_position = event.position
        seq, previous = self._chain.get(event.run, (0, b""))
        if event.seq != seq + 1:
            self.lack(f"position {event.position}: seq {event.seq} follows {seq} in {self.run_name(event.run, event)}")
        elif not fits(previous, event):
            place = f"seq {event.seq} of {self.run_name(event.run, event)}"
            self.lack(
                f"position {event.position}: its hash does not fit: this event ({place}) or one before it was changed"
            )
        self._chain[event.run] = (event.seq, event.hash)
        if event.facts.erased is not None:
            self._tombstones.setdefault(event.run, []).append(event)


async def refold_org(store: Store, org: int, report: Report, progress: Progress) -> tuple[Refold, Rows]:
    """Walks the whole log of an organisation; the rows it is to be compared with come from the same moment."""
    rows = await store.rows(org)
    refold = Refold(rows.agents, rows.threads, report)
    after, last = 0, rows.position
    for fault in rows.faults:
        refold.differ(fault)
    while after < last:
        try:
            events = await _page(store, refold, org, after)
        except OutOfOrder as error:
            refold.lack(f"the log cannot be read behind position {after}: {error}")
            refold.is_broken_off = True
            break
        if events is None:
            after += 1
            continue
        events = [event for event in events if event.position <= last]
        if not events:
            refold.lack(f"the log ends at position {after}, {last} was given out")
            break
        for event in events:
            refold.take(event)
        after = events[-1].position
        progress(refold.events)
    refold.end()
    return refold, rows


async def _page(store: Store, refold: Refold, org: int, after: int) -> list[Event] | None:
    """A page of the log; where a row in it cannot be read, one event at a time, and None for the rotten one."""
    rotten = ""
    for limit in (PAGE_EVENTS, 1):
        try:
            return await store.log(org, after, limit)
        except OutOfOrder:
            raise
        except (StorageFailed, msgspec.MsgspecError, ValueError, TypeError, KeyError) as error:
            rotten = str(error)  # the text alone: the error would hold the reader's question open
    refold.lack(f"position {after + 1} cannot be read: {rotten}")
    return None


async def verify_org(
    store: Store,
    org: int,
    report: Report = lambda _: None,
    progress: Progress = lambda _: None,
    outdated: Report = lambda _: None,
) -> int:
    """How many differences there are; each is reported in one line.

    `outdated` is told of rows that say something else than their rebuild, where a version of other folds may have made
    them: they are none of the differences.
    """
    refold, rows = await refold_org(store, org, report, progress)
    checkpoints = [row for row in rows.checkpoints if row.run not in rows.erasing]
    if not refold.is_broken_off:
        _compare_all(refold, rows, checkpoints, refold.differ if rows.folds == FOLDS else outdated)
    for one in refold.unfinished.beside(rows.erasing):
        refold.differ(f"run {one.run_id}: what its seq {one.until_seq} says was erased is still there in part")
    for row in checkpoints:
        await _check_history(store, refold.differ, _checkpoint_name(refold, row), row)
    for kind in ("messages", "nodes", "metas"):
        await _check_content(store, refold, org, kind)
    await check_audit(store, refold.differ, org)
    return refold.differences


def _compare_all(refold: Refold, rows: Rows, checkpoints: list[CheckpointRow], differ: Report) -> None:
    """Reports in what the projections differ from those that were folded anew."""
    _compare(differ, {row.run: row for row in rows.runs}, refold.runs, lambda _, row: f"run {row.run_id}")
    _compare(differ, {row.thread_id: row for row in rows.threads}, refold.threads, lambda key, _: f"thread {key}")
    _compare(differ, {row.agent: row for row in rows.agents}, refold.agents, lambda _, row: f"agent {row.name}")
    stored = {(row.run, row.agent, row.step_index): row for row in checkpoints}
    _compare(differ, stored, refold.checkpoints, lambda _, row: _checkpoint_name(refold, row))
    inbox = approval_fold.inbox_of(refold.runs, refold.checkpoints)
    waiting = {(row.run, row.seq): row for row in rows.approvals}
    _compare(differ, waiting, inbox, lambda _, row: f"approval {row.seq} of {refold.run_name(row.run)}")
    cells = {(row.org, row.hour, row.agent, row.model, row.status): row for row in rows.usage}
    _compare(differ, cells, refold.usage, lambda _, row: _usage_name(row))
    # Of a run from before texts were kept there is none, until a rebuild.
    texts = {row.run: row for row in rows.texts}
    told = {run: text for run, text in refold.texts.items() if run in texts}
    _compare(differ, texts, told, lambda run, _: f"text of {refold.run_name(run)}")


async def _check_content(store: Store, refold: Refold, org: int, kind: str) -> None:
    """Everything in the content store must bear the name that its content gives it."""
    after = 0
    try:
        while page := await store.content(org, kind, after, PAGE_EVENTS):
            for _, item in page:
                if not _has_its_key(item):
                    refold.differ(f"{kind} {item.key.hex()}: was changed, its content has another name")
            after = page[-1][0]
    except StorageFailed as error:
        refold.differ(f"{kind}: cannot be read behind number {after}: {error}")


def _has_its_key(item: Content) -> bool:
    try:
        return own_name(item) == item.key
    except (msgspec.MsgspecError, IndexError):
        return False  # metas that are no list, or an empty one


def _checkpoint_name(refold: Refold, row: CheckpointRow) -> str:
    return f"checkpoint {row.step_index} of agent {row.agent} in {refold.run_name(row.run)}"


def _usage_name(row: UsageRow) -> str:
    """A cell of the roll-up by its hour and what it is of."""
    of = (("agent", row.agent), ("model", row.model), ("status", row.status))
    named = ", ".join(f"{noun} {value}" for noun, value in of if value)
    hour = format_ms(row.hour * usage_fold.HOUR_MS)[:16] + "Z"
    return f"usage of the hour {hour}" + (f", {named}" if named else "")


def _compare(differ: Report, stored: dict[Any, Any], folded: dict[Any, Any], name: Callable[[Any, Any], str]) -> None:
    """Reports in what rows differ, each by its name for people. Those that were stored come first, in their order."""
    for key in dict.fromkeys((*stored, *folded)):
        ours, theirs = stored.get(key), folded.get(key)
        what = name(key, ours or theirs)
        if ours is None:
            differ(f"{what}: is missing")
        elif theirs is None:
            differ(f"{what}: nothing in the log speaks of it")
        elif ours != theirs and _plain(ours) != _plain(theirs):
            fields = ours.__struct_fields__
            names = [name for name in fields if _plain(getattr(ours, name)) != _plain(getattr(theirs, name))]
            differ(f"{what}: differs from its rebuild in {', '.join(names)}")


async def _check_history(store: Store, report: Report, what: str, row: CheckpointRow) -> None:
    """The messages and metas that a checkpoint points at must be there, to the last. `what`: what it is called."""
    try:
        if row.node:
            await store.history(row.org, bytes.fromhex(row.node), row.length)
    except (Damaged, StorageFailed, ValueError) as error:
        report(f"{what}: its history cannot be read: {error}")
    try:
        if row.metas:
            await store.metas(row.org, bytes.fromhex(row.metas))
    except (Damaged, StorageFailed, ValueError) as error:
        report(f"{what}: its metas are not all there: {error}")


async def rebuild_org(
    store: Store,
    org: int,
    progress: Progress = lambda _: None,
    told: Callable[[int], list[AuditEntry]] = lambda _: [],
    unmended: Report = lambda _: None,
    made_anew: Report = lambda _: None,
    steady_ms: int = 0,
) -> int:
    """Writes every projection anew from the log; returns how many events were folded. Nobody else may write.

    `told`: what the audit says of it, by the number of events. `unmended` is told of histories that checkpoints point
    at and that are not all there: they are in no event; `made_anew` of what was lost and is again as the log tells it,
    though it is no projection: lanes, which wait since `steady_ms`, and erasures under way. Raises Damaged where the
    log is not whole: what is folded from it would be wrong for good.
    """
    refold, rows = await refold_org(store, org, lambda _: None, progress)
    if refold.log_faults:
        more = f", and {len(refold.log_faults) - 1} more" if len(refold.log_faults) > 1 else ""
        raise Damaged(f"The log is not whole ({refold.log_faults[0]}{more}): restore a backup.")
    folded = sum(row.last_seq for row in refold.runs.values())
    changes = Changes(
        runs={row.run: RunChange(None, row) for row in refold.runs.values()},
        threads={(org, row.thread_id): row for row in refold.threads.values()},
        agents=dict(refold.agents),
        usage=dict(refold.usage),
        checkpoints=dict(refold.checkpoints),
        approvals=dict(approval_fold.inbox_of(refold.runs, refold.checkpoints)),
        texts={run: text.begun() for run, text in refold.texts.items()},
        lanes=await lanes_anew(store, org, refold.runs.values(), refold.threads, refold.agents.get, steady_ms),
        erasing=refold.unfinished.beside(rows.erasing),
        audit=told(folded),
        replaces=org,
    )
    for run in changes.lanes:
        made_anew(f"{refold.run_name(run)}: its place in the queue")
    for one in changes.erasing:
        made_anew(f"run {one.run_id}: the erasure that its seq {one.until_seq} tells of goes on")
    async with store.begin() as unit:
        await unit.commit(changes)
    for row in refold.checkpoints.values():
        await _check_history(store, unmended, _checkpoint_name(refold, row), row)
    return folded
