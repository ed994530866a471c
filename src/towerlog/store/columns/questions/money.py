"""What is asked of budgets and reservations, as far as the rows themselves tell, whatever the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from towerlog.model.budget import BudgetRow, HeldWanted, Reservation, dollars_text
from towerlog.model.facts import Facts
from towerlog.model.run import RunRow
from towerlog.model.usage import summed
from towerlog.store.lookup_keys import SpentSince
from towerlog.store.values import UsageSpan

_HOUR_MS = 3_600_000
_decode_facts = msgspec.json.Decoder(Facts).decode


def is_wanted(held: Reservation, wanted: HeldWanted) -> bool:
    """Whether a reservation of this organisation passes the filters."""
    return (
        wanted.run in (None, held.run)
        and wanted.key_id in (None, held.key_id)
        and (wanted.budget_id is None or wanted.budget_id in held.budgets)
    )


def span_of(wanted: SpentSince) -> UsageSpan:
    """The cells of the roll-ups in that time, of the agent where it is an agent's."""
    agent = wanted.name if wanted.by == "agent" else None
    return UsageSpan(wanted.since // _HOUR_MS, wanted.until // _HOUR_MS, agent)


def spent_by_row(row: RunRow, wanted: SpentSince) -> int | None:
    """Nano-dollars that a run has spent in that time; None where its row does not tell, and its events have to."""
    if not row.usage.cost_nanos or row.last_event_at < wanted.since:
        return 0
    is_within = row.created_at >= wanted.since and row.last_event_at < wanted.until
    return row.usage.cost_nanos if is_within and row.process_cost is None else None


def spent_by_facts(found: Iterable[bytes | None], since: int) -> int:
    """The same, from the facts of its events in that time as they are stored."""
    told = (_decode_facts(facts) for facts in found if facts and b'"spent"' in facts)
    return summed(*[moved.nanos for one in told for moved in one.moved("") if moved.is_in(since)])


def hold_faults(budgets: Iterable[BudgetRow], reservations: Iterable[Reservation]) -> list[str]:
    """Budgets that hold something else than the open reservations that name them come to."""
    sums: Counter[str] = Counter()
    for one in reservations:
        for budget_id in one.budgets:
            sums[budget_id] += one.amount_nanos
    return [
        f"budget {row.budget_id}: holds ${dollars_text(row.reserved_nanos)} for reservations, and those that are open"
        f" come to ${dollars_text(sums[row.budget_id])}"
        for row in budgets
        if row.reserved_nanos != sums[row.budget_id]
    ]


def pause_faults(budgets: Iterable[BudgetRow], paused: Mapping[str, int]) -> list[str]:
    """Budgets that have paused runs and are not there, or do not know of it: nobody asks these runs to go on. `paused`:
    how many by the budget's id.

    The other way round there is no fault: a budget need not know that a person has taken over the last of them.
    """
    known = {row.budget_id: row.has_paused for row in budgets}
    words = {None: "is not there", False: "does not know of it"}
    return [
        f"budget {budget_id}: has paused {'a run' if count == 1 else f'{count} runs'}, and {words[has_paused]}"
        for budget_id, count in paused.items()
        if (has_paused := known.get(budget_id)) is not True
    ]
