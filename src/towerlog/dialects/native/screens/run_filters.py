"""Which runs are meant: the filters that lists, counts and figures of runs have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.fields import bounded_text, cost_nanos_of, invalid_field, query_truth, time_ms_of
from towerlog.dialects.run_json import STATUS_OF
from towerlog.model.question import RunFilter
from towerlog.model.run import Status
from towerlog.model.run_text import check_asked

MAX_PAIRS = 8
"""Members of the metadata, and labels, that a filter may name."""
_STATUSES = frozenset(STATUS_OF)
_NAME = re.compile(r"[^\"\\\x00-\x1f:,]{1,100}")
_NAMED = ("thread_id", "model", "persona_id", "q")


class RunFilterQuery(msgspec.Struct, frozen=True):
    """Filters; all of them apply. `status` takes several, comma-separated; `q` is words, or parts of words."""

    status: Annotated[str, v.said("Only runs of these statuses, comma-separated.", "running,queued")] | None = None
    agent: v.AgentName | None = None
    thread_id: v.ThreadId | None = None
    model: v.ModelName | None = None
    persona_id: v.PersonaId | None = None
    parent_run_id: Annotated[str, v.run_id("Only the children of this run.")] | None = None
    since: v.Since | None = None
    until: v.Until | None = None
    q: (
        Annotated[
            str,
            v.said(
                "Only runs that have all these words, or parts of words, in an id, their agent's name, their input, "
                "result, error, phase or metadata, or in what was asked, answered or written to their agent.",
                "tower",
            ),
        ]
        | None
    ) = None
    metadata: (
        Annotated[
            str, v.said("Only runs whose metadata has these members: `name:value`, comma-separated.", "ticket:T-1")
        ]
        | None
    ) = None
    label: (
        Annotated[str, v.said("Only runs for workers with these labels: `name:value`, comma-separated.", "gpu:a100")]
        | None
    ) = None
    min_cost_usd: Annotated[float, v.said("Only runs that have cost so much, in dollars.", 0.5)] | None = None
    max_cost_usd: Annotated[float, v.said("Only runs that have cost no more, in dollars.", 10)] | None = None
    has_errors: (
        Annotated[
            Literal["true", "false"],
            v.said("`true`: only runs that failed, were lost, or say what went wrong. `false`: only others.", "true"),
        ]
        | None
    ) = None
    silent: (
        Annotated[
            Literal["true", "false"],
            v.said("`true`: only open runs whose agent has fallen silent. `false`: only others.", "true"),
        ]
        | None
    ) = None


def read_filter(query: Mapping[str, str]) -> RunFilter:
    """What a query asks for. Raises Invalid."""
    named: dict[str, Any] = {name: bounded_text(query.get(name), name) for name in _NAMED}
    check_asked(named["q"])
    parent = bounded_text(query.get("parent_run_id"), "parent_run_id")
    return RunFilter(
        agent=agent_asked(query.get("agent"), "agent"),
        statuses=read_statuses(query.get("status")),
        parent_run_id=parent.lower() if parent else None,
        since=time_ms_of(query.get("since"), "since"),
        until=time_ms_of(query.get("until"), "until"),
        metadata=_pairs(query.get("metadata"), "metadata"),
        labels=_pairs(query.get("label"), "label"),
        min_cost_nanos=_dollars(query.get("min_cost_usd"), "min_cost_usd"),
        max_cost_nanos=_dollars(query.get("max_cost_usd"), "max_cost_usd"),
        has_errors=query_truth(query, "has_errors", None),
        silent=query_truth(query, "silent", None),
        **named,
    )


def read_statuses(text: str | None) -> tuple[Status, ...] | None:
    """Comma-separated statuses, of ours or in the words of other dialects. Raises Invalid."""
    words = words_of(text, _STATUSES, "status")
    return None if words is None else tuple(dict.fromkeys(STATUS_OF[word] for word in words))


def words_of(text: str | None, known: frozenset[str], field: str) -> tuple[str, ...] | None:
    """Comma-separated words of a known set. Raises Invalid."""
    if not text:
        return None
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if not known.issuperset(words):
        raise invalid_field(field, "must be one of " + ", ".join(sorted(known)))
    return words


def _pairs(text: str | None, field: str) -> tuple[tuple[str, str], ...]:
    """`name:value`, comma-separated."""
    if not text:
        return ()
    pairs = [part.partition(":") for part in text.split(",")]
    if len(pairs) > MAX_PAIRS:
        raise invalid_field(field, f"has more than {MAX_PAIRS} pairs")
    if not all(colon and _NAME.fullmatch(name.strip()) and len(value) <= 200 for name, colon, value in pairs):
        raise invalid_field(field, "must be name:value, several with commas between them")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def _dollars(text: str | None, field: str) -> int | None:
    if not text:
        return None
    nanos = cost_nanos_of(msgspec.Raw(text.encode()), field)
    if nanos is None:  # `null`, which is also what is left of a number without an end in JSON
        raise invalid_field(field, "must be a number of dollars")
    return nanos
