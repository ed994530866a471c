"""How an event that is not plain is folded into every projection, and which reactions follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from towerlog.engine.plan import run_texts
from towerlog.engine.pricing.book import NoPrices, PriceBook, priced
from towerlog.model.agent import AgentRow
from towerlog.model.budget import BudgetRow
from towerlog.model.checkpoint import AWAITS_APPROVAL, CheckpointRow
from towerlog.model.command import Write
from towerlog.model.event import Event, RunByTrace
from towerlog.model.facts import Effects, Facts, Moved
from towerlog.model.liveness import DEFAULT_THRESHOLDS, Thresholds
from towerlog.model.principal import Principal
from towerlog.model.quotas import Quotas
from towerlog.model.run import RunRow, place_of
from towerlog.model.times import told_time
from towerlog.model.usage import Usage
from towerlog.projections import approvals as approval_fold
from towerlog.projections import checkpoints as checkpoint_fold
from towerlog.projections import computed_costs as computed_fold
from towerlog.projections import runs as run_fold
from towerlog.projections import threads as thread_fold

if TYPE_CHECKING:  # the plan folds, and so imports this
    from towerlog.engine.plan.plan import Plan
    from towerlog.engine.plan.run_state import RunState


StatusReaction = Callable[["Plan", "RunRow | None", RunRow, Event], None]
"""What follows from a change of a run's status or parent: (plan, row before or None if new, row after, event)."""
SpentReaction = Callable[["Plan", list[Moved], RunRow, Event], None]
"""What follows from money that was spent: (plan, what moved, row after, event)."""


BudgetReaction = Callable[["Plan", list[tuple[BudgetRow, BudgetRow]], RunRow], None]
"""What follows from money that budgets have counted: (plan, each of them before and after, the run that spent)."""
BudgetLimits = Callable[["Plan", list[BudgetRow], RunRow], list[int]]
"""Of budgets, below which sum nothing follows from what a run spends of each."""
PlaceReaction = Callable[["Plan", "RunRow | None", RunRow, list[Moved]], None]
"""What follows from a run that stands elsewhere now: (plan, row before or None if new, row after, what moved)."""
CallReaction = Callable[["Plan", "RunState", Event], None]
"""What follows from a tool call, in organisations that have rules: (plan, its run, event)."""


RepeatReaction = Callable[["Plan", Principal, Write], None]
"""What follows from a command that is sent again under its Idempotency-Key."""


class Reactions(NamedTuple):
    """What follows from an event, in the order of each list."""

    on_status: tuple[StatusReaction, ...] = ()
    on_parent: tuple[StatusReaction, ...] = ()
    """Where a run has got its parent: with its first event, or with a later one."""
    on_thread: tuple[StatusReaction, ...] = ()
    """Where a run has moved to the thread that its sender names."""
    on_spent: tuple[SpentReaction, ...] = ()
    """Also where the event names a reservation, whatever it has spent."""
    on_budget: tuple[BudgetReaction, ...] = ()
    on_place: tuple[PlaceReaction, ...] = ()
    """Where a run has got its parent, another agent, thread or metadata: after all else."""
    budget_limits: BudgetLimits | None = None
    """Below which sums `on_budget` finds nothing to do."""
    on_let_go: Callable[[Plan, RunRow], None] | None = None
    """A person lets a run go on."""
    on_call: tuple[CallReaction, ...] = ()
    on_repeat: tuple[RepeatReaction, ...] = ()
    book: PriceBook = PriceBook(NoPrices())
    """What a report is priced by that tells no cost."""
    quotas: Quotas = Quotas()
    """How many of what people make there may be."""
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    """After how long a silence something follows from it."""
    unheard: Callable[[], Sequence[tuple[int, int]]] = tuple
    """What was to come by a time in one of these stretches, (after, until) in wall ms, may still come."""
    latest_wall: Callable[[], int] = int
    """The latest time, in ms, that the wall clock has shown."""


def told_parts(
    plan: Plan, row: RunRow, facts: Facts, agent: str, occurred_at: int | None, *, late: bool
) -> tuple[Facts, dict[str, Any] | None]:
    """The facts with what the event adds to the roll-ups, and what `parts_after` gives; None if it tells of no usage.

    `row`: its run before it, `occurred_at`: as its sender told it. A report without a cost is priced here alone.
    """
    effects = facts.effects
    if effects is None or (effects.report is None and effects.repriced is None):
        return facts, None
    after: Usage
    report = effects.report
    if report is None:
        parts = run_fold.parts_after(row, facts, agent, late=late)
        after = parts["usage"]
        return _with_spent(row, facts, effects, agent, computed_fold.repriced(row.usage, after), after), parts
    if effects.recount is not None:
        parts = run_fold.parts_after(row, facts, agent, late=late)
        spent, lost = computed_fold.recounted(row.usage, parts["usage"])
        taken = computed_fold.taken_back(row, parts["usage"], agent, effects.recount, lost)
        return msgspec.structs.replace(facts, spent=spent, taken_back=taken), parts
    told_at = told_time(occurred_at, plan.now_ms)
    at_ms = plan.now_ms if told_at is None else told_at
    claimed = None
    if report.process is not None:
        thread, telling = plan.thread_made(row.org, row.thread_id), thread_fold.telling_of(effects, agent, told_at)
        report = thread_fold.with_fall(thread, row.run, effects, telling)
        effects = msgspec.structs.replace(effects, report=report)
        facts = msgspec.structs.replace(facts, effects=effects)
        claimed = thread_fold.claimed(thread, report, row, telling)
    worth = priced(plan.reactions.book, plan.prices.all_of(row.org), row, effects, agent, at_ms)
    if worth is not None:
        effects = msgspec.structs.replace(effects, priced=worth)
        facts = msgspec.structs.replace(facts, effects=effects)
    parts = run_fold.parts_after(row, facts, agent, late=late)
    after = parts["usage"]
    spent = computed_fold.told(report, row.usage, after, is_free=worth is not None and worth.nanos == 0)
    if report.process is not None:
        thread = plan.thread_made(row.org, row.thread_id)
        spent = thread_fold.newly_counted(thread, report.process, row, spent, after)
        if claimed is not None:
            spent = msgspec.structs.replace(spent, cost_nanos=(spent.cost_nanos or 0) + claimed.nanos)
            facts = msgspec.structs.replace(facts, claimed=claimed)
    return _with_spent(row, facts, effects, agent, spent, after), parts


def _with_spent(row: RunRow, facts: Facts, effects: Effects, agent: str, spent: Usage, after: Usage) -> Facts:
    """No cell loses what it has not counted: a cost below 0 is taken back from others."""
    lost = -min(0, spent.cost_nanos or 0)
    if not lost:
        return msgspec.structs.replace(facts, effects=effects, spent=spent)
    spent = msgspec.structs.replace(spent, cost_nanos=0 if effects.repriced is None else None)
    taken = computed_fold.taken_back(row, after, agent, effects.repriced, lost)
    return msgspec.structs.replace(facts, effects=effects, spent=spent, taken_back=taken)


def fold_event(
    plan: Plan, run_state: RunState, row: RunRow, event: Event, agent: AgentRow, parts: dict[str, Any] | None
) -> None:
    """Folds an event; `row`: its run before it, `parts`: what `parts_after` gives, if it tells of usage."""
    before = None if event.seq == 1 else row
    after = run_fold.fold(row, event, agent.name, parts)
    run_state.take(after)
    # Most events leave the words of their run as they are: seen here at once.
    if (
        before is None
        or event.type in run_texts.TELLING
        or (before.error, before.phase, before.metadata)
        != (
            after.error,
            after.phase,
            after.metadata,
        )
    ):
        _tell(plan, before, after, event)
    plan.tallies.take(agent, before, after, event)
    corrections = computed_fold.corrections(before, after, event, agent.name)
    for correction in corrections:
        plan.tallies.correct(plan.agent(row.org, correction.key[2]), correction)
    effects = event.facts.effects
    if effects is not None and effects.report is not None and effects.report.process is not None:
        thread = plan.thread_made(row.org, row.thread_id)
        counted = thread_fold.count_cost(thread, row, after, event, agent.name)
        if counted is not thread:
            plan.put_thread(counted)
    if effects is not None and effects.checkpoint is not None and checkpoint_fold.is_kept(event, after):
        _fold_checkpoint(plan, event, before, after, agent.name)
    if after.thread_id != row.thread_id:
        _move(plan, run_state, row, after, event)
    if before is None or before.status is not after.status:
        for react in plan.reactions.on_status:
            react(plan, before, after, event)
    if after.parent_key is not None and (before is None or before.parent_key is None):
        for join in plan.reactions.on_parent:
            join(plan, before, after, event)
    if after.thread_id != row.thread_id:
        for follow in plan.reactions.on_thread:
            follow(plan, before, after, event)
    moved = computed_fold.money_of_name(before, event, agent.name) + event.facts.moved(agent.name)
    if after.usage.unpriced_calls or (before is not None and before.usage.unpriced_calls):
        moved += computed_fold.moved_unpriced(corrections, event, agent.name)
    if moved or (effects is not None and effects.reservation_id is not None):
        for count in plan.reactions.on_spent:
            count(plan, moved, after, event)
    if after.parent_key is not None if before is None else place_of(before) != place_of(after):
        for settle in plan.reactions.on_place:
            settle(plan, before, after, moved)


def _tell(plan: Plan, before: RunRow | None, after: RunRow, event: Event) -> None:
    """Keeps what an event says in words, for searches."""
    told, texts = run_texts.told(before, after, event), plan.changes.texts
    if told is not None:
        texts[told.run] = texts[told.run].with_told(told) if told.run in texts else told


def _move(plan: Plan, run_state: RunState, before: RunRow, after: RunRow, event: Event) -> None:
    """Brings a run and what is changed of its checkpoints to the thread that an event names; `before`: before it."""
    org, changes = before.org, plan.changes
    left = thread_fold.left(plan.thread_made(org, before.thread_id), before)
    if left is not None:
        plan.put_thread(left)
    else:
        changes.threads.pop((org, before.thread_id), None)
        if not plan.is_new(before.run):
            changes.left_threads.add((org, before.thread_id))
    plan.put_thread(thread_fold.joined(plan.thread_made(org, after.thread_id), after, event))
    if run_state.before is not None:
        changes.moved[after.run] = run_state.before
    for key, row in changes.checkpoints.items():
        if row.run == after.run:
            changes.checkpoints[key] = row.in_thread(after.thread_id)
    plan.name_run(org, RunByTrace(after.thread_id, after.trace_id), after.run)


def _fold_checkpoint(plan: Plan, event: Event, run: RunRow | None, after: RunRow, agent: str) -> None:
    """`run`: before the event."""
    facts = event.effects.checkpoint
    if facts is None:
        return
    agent = facts.agent or agent
    step = checkpoint_fold.step_left(run, event, agent)
    waited = None if step is None else plan.checkpoint(event.run, agent, step)
    if waited is not None:
        _keep_checkpoint(plan, event, waited, checkpoint_fold.left(waited, event))
    before = plan.checkpoint(event.run, agent, facts.step_index)
    changed = checkpoint_fold.fold(before, event, after, agent)
    if changed is not None and changed is not before:
        _keep_checkpoint(plan, event, before, changed)


def _keep_checkpoint(plan: Plan, event: Event, before: CheckpointRow | None, changed: CheckpointRow) -> None:
    plan.changes.checkpoints[(changed.run, changed.agent, changed.step_index)] = changed
    # The inbox has nothing of a run that is over.
    if not event.late and AWAITS_APPROVAL in (changed.status, None if before is None else before.status):
        plan.changes.approvals |= approval_fold.checkpoint_moved(before, changed)
