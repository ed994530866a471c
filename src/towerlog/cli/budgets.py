"""`towerlog budgets`: how much may be spent, how much was, and what happens when nothing is left."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import click

from towerlog.cli.connect import with_client
from towerlog.cli.escapes import visible
from towerlog.cli.formatting import cost_cell, counted, limit_option, money
from towerlog.cli.groups import ListGroup
from towerlog.cli.output import answer, say
from towerlog.cli.run_ids import one_named
from towerlog.cli.tables import Column, View, show_table, with_view
from towerlog.errors import NotFound
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.fleet_shapes import Budget, Reservation

PERIODS = ("total", "hour", "day", "month")
ACTIONS = ("warn", "pause", "cancel")
COLUMNS = (
    Column("BUDGET ID", "id", rank=3),
    Column("NAME"),
    Column("OF", rank=1),
    Column("STATE"),
    Column("SPENT", "number"),
    Column("AMOUNT", "number"),
    Column("PERIOD", rank=2),
    Column("ACTION", rank=4),
    Column("RESETS", "time", rank=5),
    Column("ENDS AT THIS PACE", "time", rank=6),
)

HELD = (
    Column("RESERVATION ID", "id"),
    Column("RUN ID", "id", rank=1),
    Column("AMOUNT", "number"),
    Column("KEY ID", "id", rank=2),
    Column("UNTIL", "time"),
)


@click.group(cls=ListGroup)
def budgets() -> None:
    """Budgets: list, set and remove them."""


@budgets.command("ls")
@with_client
@limit_option
@with_view
def list_budgets(client: Client, limit: int, view: View, as_json: bool) -> None:
    """Lists budgets, newest first, with what they have spent in the current period."""
    found = list(islice(client.list_budgets(), limit))
    answer(
        as_json,
        {"data": [budget.raw for budget in found]},
        lambda: show_table(COLUMNS, [_row(budget) for budget in found], empty="No budgets.", view=view),
    )


@budgets.command("set")
@with_client
@click.argument("budget")
@click.option("--amount", type=click.FloatRange(0, min_open=True), help="Dollars for a period.")
@click.option("--agent", help="What this agent spends.")
@click.option("--thread", help="What the runs of this thread spend.")
@click.option("--run", help="What this run and all runs below it spend.")
@click.option("--period", type=click.Choice(PERIODS), help="How long the amount is for, in UTC; at first: total.")
@click.option("--action", type=click.Choice(ACTIONS), help="What is asked of open runs then; at first: warn.")
@click.option("--warn-at", type=click.FloatRange(0, 1, min_open=True), help="The fraction to warn at; at first: 0.8.")
def set_budget(client: Client, budget: str, amount: float | None, as_json: bool, **given: Any) -> None:
    """Creates a budget of this name, or changes the one with this name or id.

    Without --agent, --thread or --run a new one counts all that the organisation spends.
    """
    names = {"agent": "agent", "thread": "thread_id", "run": "run_id"}
    scope = {member: given.pop(option) for option, member in names.items()}
    scope = {member: value for member, value in scope.items() if value is not None}
    if len(scope) > 1:
        raise click.UsageError("--agent, --thread and --run exclude each other")
    known = _find(client, budget)
    if known is not None:
        if scope and scope != known.scope:
            raise click.UsageError("a budget is for one scope; remove it and make another one")
        done = client.change_budget(known.budget_id, amount_usd=amount, **given)
    elif amount is None:
        raise click.UsageError(f"there is no budget {budget!r} yet: say how much it has with --amount")
    else:
        given = {name: value for name, value in given.items() if value is not None}
        done = client.create_budget(budget, scope or {"organisation": True}, amount, **given)
    answer(as_json, dict(done.raw), lambda: say(_words(done)))


@budgets.command("rm")
@with_client
@click.argument("budget")
def remove_budget(client: Client, budget: str, as_json: bool) -> None:
    """Removes a budget, given by its name or id. Runs that it has paused go on."""
    done = client.delete_budget(_known(client, budget).budget_id)
    answer(as_json, dict(done.raw), lambda: say(f"Budget {visible(done.name)} was removed."))


@budgets.command("reservations")
@with_client
@limit_option
@click.option("--budget", help="Only in this budget, given by its name or id.")
@click.option("--run", help="Only of this run.")
@click.option("--key", help="Only of the key with this id.")
@with_view
def list_reservations(
    client: Client, limit: int, budget: str | None, run: str | None, key: str | None, view: View, as_json: bool
) -> None:
    """Lists open reservations, newest first: money that is held and not spent yet."""
    known = None if budget is None else _known(client, budget).budget_id
    found = list(islice(client.list_reservations(budget_id=known, run_id=run, key_id=key), limit))
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(HELD, [_held_row(one) for one in found], empty="Nothing is held.", view=view),
    )


@budgets.command("release")
@with_client
@click.argument("reservation_id")
def release_reservation(client: Client, reservation_id: str, as_json: bool) -> None:
    """Releases a reservation, so that others can spend the money."""
    done = client.release_reservation(reservation_id)
    said = f"{money(done.amount_usd)} of run {done.run_id} are held no more."
    answer(as_json, dict(done.raw), lambda: say(said))


def _known(client: Client, wanted: str) -> Budget:
    budget = _find(client, wanted)
    if budget is None:
        raise NotFound("budget", f"There is no budget {wanted!r}; `towerlog budgets ls` lists them.")
    return budget


def _find(client: Client, wanted: str) -> Budget | None:
    """The budget with this id or name, else the one whose id begins so; None for none."""
    found = {budget.budget_id: budget for budget in client.list_budgets()}
    budget_id = one_named(wanted, {one: budget.name for one, budget in found.items()}, "budget")
    return None if budget_id is None else found[budget_id]


def _of(scope: Mapping[str, Any]) -> str:
    for name, word in (("agent", "agent"), ("thread_id", "thread"), ("run_id", "run")):
        if name in scope:
            return f"{word} {scope[name]}"
    return "organisation"


def _row(budget: Budget) -> tuple[str | None, ...]:
    figures = (cost_cell(budget.spent_usd, budget.unpriced_calls), money(budget.amount_usd))
    words = (budget.period, budget.action, budget.resets_at, budget.ends_at)
    return (budget.budget_id, budget.name, _of(budget.scope), budget.state, *figures, *words)


def _held_row(one: Reservation) -> tuple[str | None, ...]:
    return (one.reservation_id, one.run_id, money(one.amount_usd), one.key_id, one.expires_at)


def _words(budget: Budget) -> str:
    spent, amount = money(budget.spent_usd), money(budget.amount_usd)
    if budget.unpriced_calls:
        spent += f" and {counted(budget.unpriced_calls, 'call')} without a price"
    name, of = visible(budget.name), visible(_of(budget.scope))
    return f"Budget {name} ({of}): {spent} of {amount} spent, period {budget.period}, then {budget.action}."
