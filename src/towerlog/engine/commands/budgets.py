"""Making, changing and deleting budgets; and reservations, which hold money before it is spent."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from towerlog.engine.commands.quotas import check_quota
from towerlog.engine.control.cancel import CONTROL
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.budgets import spent_in
from towerlog.engine.plan.plan import Plan
from towerlog.engine.reactions.budgets import free, in_scope, needs_of_scope, reservation_of, reservations_of_run
from towerlog.errors import Conflict, Invalid, NotFound, Overloaded, RunNotActive
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.budget import (
    MAX_LARGE_HOLD_SECONDS,
    MAX_RESERVATIONS,
    MAX_RESERVATIONS_OF_KEY,
    MAX_RESERVATIONS_OF_RUN,
    BudgetNow,
    BudgetRow,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    Period,
    ReleaseReservation,
    Reservation,
    ReservationNow,
    ReserveBudget,
    Reserved,
    period_start,
    warn_nanos,
)
from towerlog.model.event import EventType, NamedRun, RunByForeignId, RunById
from towerlog.model.facts import Facts
from towerlog.model.principal import Principal, Scope
from towerlog.model.run import RunRow
from towerlog.model.usage import dollars_json, summed
from towerlog.projections import budgets as fold
from towerlog.store.values import Kind

CLIENTS = ("sdk", "steps")
"""How the names begin that clients give their runs, in the order in which a name is looked up: a `run_key` comes before
an `sdk_run_id`. Runs of other forms have no name of one part."""
RETRY_AFTER_SECONDS = 5
"""Until a reservation may have been settled or be over, when as many are open as may be."""
_replace = msgspec.structs.replace


def needs_of_create(needs: Needs, principal: Principal, command: CreateBudget) -> None:
    """The run of a tree. What was spent is asked for when it is placed: the period is known only then."""
    needs.counters(principal.org)
    if command.scope.run_id is not None:
        needs.run(principal.org, RunById(command.scope.run_id))


def create_budget(plan: Plan, principal: Principal, command: CreateBudget) -> BudgetNow:
    """A budget that begins with what its period has spent. Raises Conflict for one too many, Invalid for no such run.

    One that is used up from the start acts at once; with `dry_run` it is told, and not made.
    """
    org, scope, known = principal.org, command.scope, plan.budgets.of(principal.org).all()
    check_quota(plan.reactions.quotas.budgets, known, principal, "budgets", "max_budgets")
    if scope.run_id is not None and plan.run(org, RunById(scope.run_id)) is None:
        raise Invalid("scope.run_id: there is no such run", field="scope.run_id")
    row = BudgetRow(
        org=org,
        budget_id=plan.ids.uuid(),
        number=1 + max((one.number for one in known), default=0),
        name=command.name,
        scope=scope,
        amount_nanos=command.amount_nanos,
        period=command.period,
        action=command.action,
        warn_at=command.warn_at,
        warn_nanos=warn_nanos(command.amount_nanos, command.warn_at),
        created_at=plan.now_ms,
        created_by=principal.user_id,
        key_id=principal.key_id,
    )
    if command.dry_run:
        return BudgetNow(fold.changed(_with_spent(plan, row), plan.now_ms))
    row = fold.changed(_begun(plan, row), plan.now_ms)
    plan.budgets.put(org, row.budget_id, row)
    return BudgetNow(row, created=True)


def _with_spent(plan: Plan, row: BudgetRow) -> BudgetRow:
    """With what the store has of its present period."""
    start = period_start(row.period, plan.now_ms)
    stored: int = plan.loaded(Kind.BUDGET_SPENT, spent_in(row.org, row.scope, row.period, start))
    return _replace(row, period_start=start, spent_nanos=stored, begun_at=0, begun_nanos=0, aside=())


def _begun(plan: Plan, row: BudgetRow) -> BudgetRow:
    """With what its present period has spent: what the store has, and what commands before this one in its group have
    spent."""
    row = _with_spent(plan, row)
    plan.budgets.put(row.org, row.budget_id, row)
    for event in plan.changes.events:
        moved = event.facts.moved(plan.agent_of(event)) if event.org == row.org and event.facts.spent else []
        run = plan.run_by_number(event.run) if moved else None
        for one in moved:
            if run is None or not one.is_in(row.period_start):
                continue
            counting = in_scope(plan, row.org, one.agent, run.thread_id, run)
            if any(budget.budget_id == row.budget_id for budget in counting):
                row = _replace(row, spent_nanos=summed(row.spent_nanos, one.nanos))
    return _replace(row, begun_at=plan.now_ms, begun_nanos=row.spent_nanos) if row.period is Period.TOTAL else row


def needs_of_budgets(needs: Needs, principal: Principal, _command: ChangeBudget | DeleteBudget) -> None:
    """All budgets."""
    needs.counters(principal.org)


def _found(plan: Plan, org: int, budget_id: str) -> BudgetRow:
    row = plan.budgets.get(org, budget_id)
    if row is None or row.deleted:
        raise NotFound("budget")
    return row


def change_budget(plan: Plan, principal: Principal, command: ChangeBudget) -> BudgetNow:
    """The budget with what was given; one that is not used up any more lets its runs go on. Raises NotFound.

    With `dry_run` it stays as it is.
    """
    row = _found(plan, principal.org, command.budget_id)
    given = {name: getattr(command, name) for name in ("name", "amount_nanos", "action", "warn_at")}
    asked = _replace(row, **{name: value for name, value in given.items() if value is not None})
    asked = _replace(asked, warn_nanos=warn_nanos(asked.amount_nanos, asked.warn_at))
    if command.period not in (None, row.period):
        asked = (_with_spent if command.dry_run else _begun)(plan, _replace(asked, period=command.period))
    row = fold.changed(asked, plan.now_ms, was=row)
    if not command.dry_run:
        plan.budgets.put(row.org, row.budget_id, row)
    return BudgetNow(row)


def delete_budget(plan: Plan, principal: Principal, command: DeleteBudget) -> BudgetNow:
    """The budget as it was; runs that it has paused go on. Raises NotFound."""
    row = _found(plan, principal.org, command.budget_id)
    plan.budgets.put(row.org, row.budget_id, fold.deleted(row))
    return BudgetNow(fold.current(row, plan.now_ms))


def _run_of(command: ReserveBudget, find: Callable[[NamedRun], RunRow | None]) -> RunRow | None:
    """Under the name of a client's run one of our own ids is found as well."""
    names = (RunByForeignId(f"{client}:{command.run_id}", "") for client in CLIENTS)
    return next((row for row in map(find, names) if row is not None), None)


def needs_of_reserve(needs: Needs, principal: Principal, command: ReserveBudget) -> None:
    """The run, and what tells its budgets."""
    needs.counters(principal.org)
    needs.want(Kind.RESERVATIONS, principal.org)
    row = _run_of(command, lambda ref: needs.run(principal.org, ref))
    if row is not None:
        needs.notes(row)
        needs.want(Kind.RUN_RESERVATIONS, row.run)
        needs_of_scope(needs, row)


def reserve(plan: Plan, principal: Principal, command: ReserveBudget) -> Reserved:
    """Holds the amount in all budgets that count what the agent spends in the run, or in none.

    Raises NotFound, RunNotActive, Overloaded for too many, Conflict for more than a half of a budget for too long.
    """
    org, amount = principal.org, command.amount_nanos
    row = _run_of(command, lambda ref: plan.run(org, ref))
    if row is None:
        raise NotFound("run")
    if row.is_terminal():
        raise RunNotActive(f"The run has ended: {row.status}.")
    budgets = in_scope(plan, org, command.agent or row.agent or DEFAULT_AGENT, row.thread_id, row)
    refusing = next((one for one in budgets if not fold.has_room(one, amount)), None)
    if refusing is not None:
        _note_refusal(plan, row, refusing, amount)
        return Reserved(None, refusing.budget_id)
    _check_quota(plan, principal, row)
    for one in budgets:
        if one.is_mostly_held_by(principal.key_id, amount) and command.ttl_ms > MAX_LARGE_HOLD_SECONDS * 1000:
            raise Conflict(
                f"With this, the key holds more than a half of the budget '{one.name}': it may hold that for "
                f"{MAX_LARGE_HOLD_SECONDS} seconds at most (ttl_seconds)."
            )
    for one in budgets:
        plan.budgets.put(org, one.budget_id, fold.held(one, amount, principal.key_id))
    held = Reservation(
        org=org,
        reservation_id=plan.ids.uuid(),
        run=row.run,
        amount_nanos=amount,
        ttl_ms=command.ttl_ms,
        expires_at=plan.serving_ms + command.ttl_ms,
        budgets=tuple(one.budget_id for one in budgets),
        key_id=principal.key_id,
    )
    plan.changes.reservations[org, held.reservation_id] = held
    return Reserved(held.reservation_id)


def needs_of_release(needs: Needs, principal: Principal, command: ReleaseReservation) -> None:
    """The reservation, and its run."""
    needs.counters(principal.org)
    held: Reservation | None = needs.want(Kind.RESERVATION, (principal.org, command.reservation_id))
    if held is not None:
        needs.run_by_number(held.run)


def release(plan: Plan, principal: Principal, command: ReleaseReservation) -> ReservationNow:
    """What was held. Who may not steer runs releases its own alone. Raises NotFound, also where it is settled."""
    held = reservation_of(plan, principal.org, command.reservation_id)
    is_own = held is not None and held.key_id == principal.key_id
    if held is None or not (is_own or principal.scopes & {Scope.CONTROL, Scope.ADMIN}):
        raise NotFound("reservation")
    row = plan.run_by_number(held.run)
    free(plan, held)
    return ReservationNow(_replace(held, expires_at=plan.wall_of(held.expires_at)), "" if row is None else row.run_id)


def _check_quota(plan: Plan, principal: Principal, row: RunRow) -> None:
    """Raises Overloaded where the run, the key or its organisation has as many open reservations as it may have."""
    stored: dict[str, int] = plan.loaded(Kind.RESERVATIONS, principal.org)
    added = [one for one in plan.changes.reservations.values() if one is not None and one.org == principal.org]
    of_key = stored.get(principal.key_id, 0) + sum(one.key_id == principal.key_id for one in added)
    for holder, held, bound in (
        ("This run", len(reservations_of_run(plan, row)), MAX_RESERVATIONS_OF_RUN),
        ("This key", of_key, MAX_RESERVATIONS_OF_KEY),
        ("The organisation", sum(stored.values()) + len(added), MAX_RESERVATIONS),
    ):
        if held >= bound:
            text = f"{holder} has as many open reservations as it may have ({bound}): events settle them, or their end."
            raise Overloaded(text, retry_after=RETRY_AFTER_SECONDS)


def _note_refusal(plan: Plan, row: RunRow, budget: BudgetRow, amount_nanos: int) -> None:
    """A call that was not made, for the run's log and its agent's feed; so many in a minute."""
    told = fold.refused(budget, plan.now_ms)
    if told is None:
        return
    plan.budgets.put(budget.org, budget.budget_id, told)
    members = {
        "status": "budget_exceeded",
        "budget_id": budget.budget_id,
        "amount_usd": dollars_json(amount_nanos),
        "message": f"{budget.scope.subject()} has less than that left of its budget",
    }
    plan.note(row, EventType.MODEL_CALL, members, Facts(name="inference_budget_exceeded", success=False), by=CONTROL)
