"""The questions of `SqliteStore` that screens ask of runs."""

from __future__ import annotations

from towerlog.store.sqlite import texts
from towerlog.store.sqlite.connections.pools import Ask, AskInTime, HasPools
from towerlog.store.sqlite.screens import facets, moments, searches


class ScreenAsks(HasPools):
    """A part of the store; see `store/base/rows` for what each method promises."""

    moments = Ask(moments.moments)
    runs = AskInTime(searches.runs_in_time)
    run_facets = AskInTime(facets.run_facets)
    run_durations = AskInTime(facets.run_durations)
    run_sums = AskInTime(facets.run_sums)
    run_texts = Ask(texts.run_texts)
