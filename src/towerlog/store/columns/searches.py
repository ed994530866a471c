"""Which searches for runs need a look into each row: they are given up after a while."""

from __future__ import annotations

from towerlog.model.question import RunFilter


def unindexed(wanted: RunFilter) -> str | None:
    """The name of a parameter that only a look into each row can answer; None where there is none."""
    asked = {
        "q": wanted.q,
        "metadata": wanted.metadata,
        "label": wanted.labels,
        "min_cost_usd": wanted.min_cost_nanos,
        "max_cost_usd": wanted.max_cost_nanos,
        "has_errors": wanted.has_errors,
        "silent": wanted.silent,
    }
    return next((name for name, value in asked.items() if value not in (None, (), "")), None)
