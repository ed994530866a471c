"""Mutants: single faults planted in the real code, each of which the simulation must catch.

A mutant replaces one piece of one function's source and puts the compiled result into the function itself, so that
every importer gets it. When the source no longer holds the piece, the mutant says so instead of passing for caught.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType
from typing import Any

import msgspec
import pytest

from towerlog.engine.commands import lanes, runs
from towerlog.engine.commit import turn
from towerlog.engine.control import cancel, receipts, rights, steering
from towerlog.engine.ingest import append, dedupe
from towerlog.engine.plan import plan
from towerlog.engine.reactions import cancels as cancel_reactions
from towerlog.engine.reactions import lanes as reactions
from towerlog.engine.timers import cancels
from towerlog.model import lane
from towerlog.projections import commands as command_fold
from towerlog.projections import questions
from towerlog.projections import runs as run_fold
from towerlog.projections import status as status_fold
from towerlog.store.sqlite import queue, write


class Mutant(msgspec.Struct, frozen=True):
    """`old` in the source of `function` becomes `new`."""

    name: str
    function: Callable[..., Any]
    old: str
    new: str

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """From now on the fault is there."""
        function = self.function
        assert isinstance(function, FunctionType)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.old) == 1, f"{self.name}: bring `old` up to date with {function.__qualname__}"
        code = compile(
            source.replace(self.old, self.new),
            function.__code__.co_filename,
            "exec",
            flags=__future__.annotations.compiler_flag,
        )
        [changed] = [part for part in code.co_consts if isinstance(part, CodeType)]
        patch.setattr(function, "__code__", changed)


def tiers(laws: Mapping[str, tuple[str, ...]], mutants: Iterable[Mutant]) -> list[Any]:
    """The mutants as parameters of a test: the first of each law for the quick tier, the others marked slow."""
    quick = {names[0] for names in laws.values()}
    known = [name for names in laws.values() for name in names]
    assert sorted(known) == sorted(one.name for one in mutants), "every mutant breaks one law, and is listed with it"
    return [
        pytest.param(one, id=one.name.replace(" ", "_"), marks=() if one.name in quick else pytest.mark.slow)
        for one in mutants
    ]


MUTANTS = (
    Mutant("the epoch is not compared", lane.Lane.belongs_to, "epoch in (None, self.epoch)", "True"),
    Mutant("a stranger may report", lane.Lane.belongs_to, "self.worker_id == worker_id and ", ""),
    Mutant("another key may report", lane.Lane.belongs_to, "self.key_id == key_id and ", ""),
    Mutant("another key renews the claim", lanes._has_key, "lane.key_id == principal.key_id or", "True or"),
    Mutant("a revoked key keeps its runs", lanes._has_key, " or is_revoked(plan, principal, lane.key_id)", ""),
    Mutant("another key repeats the release", lanes.release, "lane.key_id != principal.key_id", "False"),
    Mutant(
        "a report is accepted after the loss",
        lanes._held_lane,
        "return lane if lane.belongs_to(command.worker_id, command.lease_epoch, principal.key_id) else None",
        "return lane",
    ),
    Mutant("a stranger's word counts", rights.is_of_another, "lane.key_id != principal.key_id", "False"),
    Mutant(
        "a stranger takes a run out of the queue",
        rights.is_of_another,
        "return row.reporter_key is not None and",
        "return False and",
    ),
    Mutant(
        "a stranger's acknowledgement counts",
        rights.changes_state,
        "_replace(effects, beat=False",
        "_replace(effects, acknowledges=None, beat=False",
    ),
    Mutant(
        "a stranger's word is not flagged",
        rights.as_foreign,
        "foreign=True, effects=told",
        "foreign=False, effects=told",
    ),
    Mutant(
        "what waits for the next worker is taken",
        rights.as_told_by,
        "is_others = changes and lane.epoch > 0 and",
        "is_others = False and",
    ),
    Mutant("a stranger's costs are dropped", rights.as_foreign, "report=effects.report, ", ""),
    Mutant(
        "a stranger may not tell of the work", rights.changes_state, "return draft.type not in TELEMETRY", "return True"
    ),
    Mutant("whoever asks is told", rights.may_be_told, "if key_id is None or key_id == principal.key_id:", "if True:"),
    Mutant(
        "whoever asks of a run in the queue is told",
        rights.told_key,
        "lane.key_id if lane.state is QueueState.HELD else None",
        "lane.key_id",
    ),
    Mutant("a result after the end is thrown away", lanes._is_known, "return end is not None and", "return True or"),
    Mutant("a result told twice is an error", lanes._is_known, "return True  #", "return False  #"),
    Mutant(
        "a late result of a report is not refused", lanes.report, "if row.is_terminal() else []", "if False else []"
    ),
    Mutant("expiry is not checked at a claim", lanes.claim_run, "if lane.is_held(plan.serving_ms):", "if False:"),
    Mutant("the epoch does not rise", lanes._take, "epoch=lane.epoch + 1", "epoch=max(lane.epoch, 1)"),
    Mutant("a reclaim forgets to take the lane first", lanes._take, "if lane.state is QueueState.HELD:", "if False:"),
    Mutant("attempts are not counted", lanes._take, "attempt=lane.attempt + 1", "attempt=max(lane.attempt, 1)"),
    Mutant("one attempt too many", lanes.expire, "lane.attempt >= MAX_ATTEMPTS", "lane.attempt > MAX_ATTEMPTS"),
    Mutant(
        "a lost run that is being cancelled is queued again", lanes.expire, "row.status is Status.CANCELLING", "False"
    ),
    Mutant(
        "the loser keeps his name on the lane",
        lanes.expire,
        "state=QueueState.QUEUED, worker_id=None",
        "state=QueueState.QUEUED",
    ),
    Mutant(
        "a release by a stranger is accepted",
        lanes.release,
        "if held is None:",
        "if not (held := lane):",
    ),
    Mutant("a release costs an attempt", lanes.release, "attempt=held.attempt - 1", "attempt=held.attempt"),
    Mutant(
        "a released run keeps its place in the queue",
        lanes.release,
        "queue_position=plan.counters(row.org).position + 1,",
        "",
    ),
    Mutant("a repeated release is an error", lanes.release, "lane.released_by == command.worker_id", "False"),
    Mutant("a renewal shortens", lanes._renewed, "max(expires_at, lane.expires_at or 0)", "plan.serving_ms + 1"),
    Mutant("a report does not renew", lanes.report, "_renewed(plan, lane, command.lease_ms, reported=True)", "lane"),
    Mutant("a finished run finishes again", lanes.finish, "if row.is_terminal():", "if False:"),
    Mutant("what a loser sent is dropped", lanes._quarantine, "for draft in drafts:", "for draft in ():"),
    Mutant(
        "what a loser sent is folded",
        lanes.report,
        "    if lane is None:",
        "    if not (lane := plan.lane(row.run)):",
    ),
    Mutant("a forced cancel leaves the holder", cancel.force_cancelled, "worker_id=None, ", ""),
    Mutant("a forced cancel leaves the lane", cancel.force_cancelled, "if lane is not None:", "if False:"),
    Mutant(
        "a queued run is cancelled by asking nobody",
        cancel.cancel_one,
        "queued = row.status is Status.QUEUED",
        "queued = False",
    ),
    Mutant(
        "a cancel leaves the children",
        cancel.cancel_tree,
        "yield from _tell_below(plan, row, Spread(row.run, row.org, reason, user_id))",
        "yield",
    ),
    Mutant(
        "a blocked lane is claimable",
        runs._queue,
        "if first else QueueState.BLOCKED",
        "if True else QueueState.BLOCKED",
    ),
    Mutant(
        "the next run of the thread stays blocked", reactions.free_next, "lane.state is QueueState.BLOCKED", "False"
    ),
    Mutant("an end leaves the lane open", reactions.close_lane, "lane.state is not QueueState.DONE", "False"),
    Mutant(
        "nothing is ever late",
        plan.Plan.append,
        "row.status in TERMINAL, agent.name",
        "False, agent.name",
    ),
    Mutant("a late report is folded", run_fold.fold, "if event.late:", "if False:"),
    Mutant("a cancel can be talked out of", status_fold.fold, "target in TRANSITIONS[row.status]", "True"),
    Mutant("a repeated event is stored again", append._place, "if may_repeat and (seen :=", "if False and (seen :="),
    Mutant("a repeat under an id is news", dedupe.seen_before, "if event is None:", "if True:"),
    Mutant("a repeated request is carried out again", turn.place_once, "if known is not None:", "if False:"),
    Mutant(
        "a lease ends before its time",
        lane.Lane.is_held,
        "self.expires_at > now_ms",
        "self.expires_at > now_ms + 30_000",
    ),
    Mutant(
        "cancels are forced by the wall clock",
        cancels.OverdueCancels._force_cancel,
        "plan.serving_ms - since",
        "plan.now_ms - since",
    ),
    Mutant(
        "a kill leaves the children",
        cancel.kill_run,
        "yield from _tell_below(plan, one, Spread(one.run, one.org, reason, principal.user_id, forced=True))",
        "yield",
    ),
    Mutant("a kill asks first", cancel.kill_run, "row = force_cancelled(plan", "row = cancel_one(plan"),
    Mutant(
        "a child born since is left behind",
        cancel_reactions._is_cancelled,
        "row.cancel_requested_at is not None and row.status",
        "row.status is None and row.status",
    ),
    Mutant(
        "what is being cancelled is paused",
        steering.steer_run,
        "row.is_terminal() or row.status is Status.CANCELLING",
        "row.is_terminal()",
    ),
    Mutant("a pause is asked for again and again", steering.ask, "requested == [action] or ", ""),
    Mutant(
        "a pause and its opposite stand together", command_fold._with_request, "one.type != OPPOSITES.get(kind)", "True"
    ),
    Mutant(
        "a pause that was taken pauses nothing",
        status_fold._status_once_acknowledged,
        "return STATUS_ONCE_ACKNOWLEDGED.get(taken.type)",
        "return None",
    ),
    Mutant(
        "a question is lost with its worker",
        steering._meant,
        "if (awaited := row.awaited()) is not None:",
        "if (awaited := row.awaited()) is not None and row.status != 'queued':",
    ),
    Mutant(
        "an answer goes to the oldest question", steering._meant, "if command.question_id is not None:", "if False:"
    ),
    Mutant(
        "who answers second writes a message",
        steering._is_recent,
        "0 <= now_ms - closed.closed_at < SECOND_ANSWER_MS",
        "False",
    ),
    Mutant(
        "a second answer reaches what was asked since",
        steering._closed_before,
        "one.closed_seq < asked_seq",
        "False",
    ),
    Mutant("what an attempt has gone past stays", steering.give_input, "if goes_past else row", "if False else row"),
    Mutant("what a lost attempt has asked is waited for", questions._ask, 'changes["asking_epoch"] = epoch', "pass"),
    Mutant("a pause is lost with its worker", command_fold.tell_again, "stands = row.pause_taken", "stands = None"),
    Mutant("the second answer is taken too", questions._close, "one.question_id != closed.question_id", "True"),
    Mutant("what is asked again is another question", questions.asked_before, "if key is None:", "if True:"),
    Mutant(
        "an answer that was taken is the answer of the next attempt",
        questions.asked_before,
        "taken = [one.question_id for one in row.pending if one.question_key == key and one.question_id is not None]",
        "taken, words = [one.question_id for one in row.pending if one.question_id], None",
    ),
    Mutant(
        "a withdrawal takes an answer away",
        questions._withdraw,
        "    if found is not None:",
        "    changes['pending'] = tuple(one for one in row.pending if one.type != 'input')\n    if found is not None:",
    ),
    Mutant("a withdrawal closes the oldest question", questions.named_question, "if key is not None:", "if False:"),
    Mutant("one answer ends every wait", status_fold._status_open, "is_open or ", ""),
    Mutant(
        "a claim forgets the questions",
        status_fold.fold,
        "target in (Status.RUNNING, Status.WAITING)",
        "target is Status.WAITING",
    ),
    Mutant("a second process of the same name goes on", lanes.claim_run, "epoch=lane.epoch + 1", "epoch=lane.epoch"),
    Mutant("a release keeps the run's attempt", run_fold._fold_lane, "if lane.epoch:", "if lane.attempt:"),
    Mutant("a delivery is not noted", receipts.mark_delivered, "if not command.delivered:", "if False:"),
    Mutant("a delivery is noted every time", receipts.mark_delivered, "if not command.delivered:", "if True:"),
    Mutant(
        "a batch repeats what it acknowledges",
        receipts.with_receipts,
        "(one, commands=_by_the_end(one, final[one.run_id][0]))",
        "(one)",
    ),
    Mutant("what was given back is anybody's", status_fold._stays_queued, "row.lease_epoch > 0", "row.attempt > 0"),
    Mutant("a restart keeps the old deadlines", write._refreshed, "now_ms + lane.lease_ms", "lane.expires_at"),
    Mutant(
        "the newest is claimed first",
        queue._oldest,
        "ORDER BY queue_position",
        "ORDER BY queue_position DESC",
    ),
)

LAWS: Mapping[str, tuple[str, ...]] = {
    "a run has one holder at a time": (
        "another key may report",
        "a stranger may report",
        "expiry is not checked at a claim",
        "the epoch is not compared",
        "another key renews the claim",
        "a revoked key keeps its runs",
        "another key repeats the release",
        "a report is accepted after the loss",
        "a release by a stranger is accepted",
        "what was given back is anybody's",
        "the loser keeps his name on the lane",
        "a lease ends before its time",
    ),
    "a held run changes by its holder's word alone": (
        "a stranger's word counts",
        "a stranger takes a run out of the queue",
        "a stranger's acknowledgement counts",
        "a stranger's word is not flagged",
        "what waits for the next worker is taken",
        "a stranger's costs are dropped",
        "a stranger may not tell of the work",
    ),
    "what is wanted is told to the key that holds the run": (
        "whoever asks is told",
        "whoever asks of a run in the queue is told",
    ),
    "a result is taken once, and never thrown away": (
        "a result after the end is thrown away",
        "a result told twice is an error",
        "a late result of a report is not refused",
    ),
    "claims are numbered without a gap": (
        "the epoch does not rise",
        "a second process of the same name goes on",
        "a reclaim forgets to take the lane first",
        "a release keeps the run's attempt",
    ),
    "attempts are counted and have a bound": (
        "attempts are not counted",
        "one attempt too many",
        "a release costs an attempt",
    ),
    "a lease lasts as long as it was given for": (
        "a report does not renew",
        "a renewal shortens",
        "a restart keeps the old deadlines",
    ),
    "the queue is served in its order": (
        "the newest is claimed first",
        "a released run keeps its place in the queue",
    ),
    "one run of a thread is served at a time, and then the next": (
        "a blocked lane is claimable",
        "the next run of the thread stays blocked",
        "an end leaves the lane open",
    ),
    "a run ends once": (
        "a cancel can be talked out of",
        "a finished run finishes again",
    ),
    "what comes after the end is kept and changes nothing": (
        "nothing is ever late",
        "a late report is folded",
    ),
    "what a loser sends is beside the log": (
        "what a loser sent is folded",
        "what a loser sent is dropped",
    ),
    "the same again adds nothing": (
        "a repeated event is stored again",
        "a repeat under an id is news",
        "a repeated request is carried out again",
        "a repeated release is an error",
    ),
    "a cancel that is not heeded is forced": (
        "a forced cancel leaves the holder",
        "a forced cancel leaves the lane",
        "cancels are forced by the wall clock",
        "a lost run that is being cancelled is queued again",
        "a queued run is cancelled by asking nobody",
    ),
    "a cancel and a kill reach the children": (
        "a kill asks first",
        "a cancel leaves the children",
        "a kill leaves the children",
        "a child born since is left behind",
    ),
    "a pause and its opposite take turns": (
        "a pause and its opposite stand together",
        "what is being cancelled is paused",
        "a pause is asked for again and again",
        "a pause that was taken pauses nothing",
        "a pause is lost with its worker",
    ),
    "an answer reaches its own question, once": (
        "what a lost attempt has asked is waited for",
        "an answer goes to the oldest question",
        "the second answer is taken too",
        "who answers second writes a message",
        "a question is lost with its worker",
        "what is asked again is another question",
        "an answer that was taken is the answer of the next attempt",
        "a withdrawal takes an answer away",
        "a withdrawal closes the oldest question",
        "one answer ends every wait",
        "a claim forgets the questions",
        "a second answer reaches what was asked since",
        "what an attempt has gone past stays",
    ),
    "a delivery is noted once": (
        "a delivery is noted every time",
        "a delivery is not noted",
        "a batch repeats what it acknowledges",
    ),
}
"""Law → the mutants that break it; the quick tier plants the first of each, the slow tier all."""
