"""Native endpoints for figures of runs: how many a filter finds, how long they took, and what they have used."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import invalid_field, query_int
from towerlog.dialects.native.lists import DEFAULT_LIMIT, MAX_LIMIT, Listing
from towerlog.dialects.native.screens.run_filters import RunFilterQuery, read_filter
from towerlog.dialects.usage_json import UsageView, usage_view
from towerlog.model.outcome import RunDurations, RunFacets
from towerlog.model.principal import Scope
from towerlog.model.question import CountRuns, GetDurations, RunFilter, SumRuns
from towerlog.model.times import format_ms
from towerlog.model.usage import RunSums, dollars_json

READ = scopes(Scope.READ)
GROUPS = ("hour", "day", "agent", "model", "status", "thread")
_GROUP_MS = {"hour": 3_600_000, "day": 86_400_000}


class FacetsQuery(RunFilterQuery, frozen=True):
    """Which runs are counted."""


class DurationsQuery(RunFilterQuery, frozen=True):
    """Which runs are looked at, and what they are grouped by."""

    by: Annotated[Literal["hour", "day", "agent", "model", "status", "thread"], v.said("What to group by.", "hour")] = (
        "hour"
    )
    limit: Annotated[int, v.limit(MAX_LIMIT)] = DEFAULT_LIMIT


class FacetValue(msgspec.Struct, frozen=True):
    """A value, and how many runs have it."""

    value: Annotated[str, v.said("The value; null for runs without one.", "running")] | None
    runs: Annotated[int, v.said("How many runs have it.", 12)]


def _facet(what: str) -> msgspec.Meta:
    return v.said(f"By {what}, the most first, at most 100; null where counting takes too long: narrow the filter.")


class Facets(msgspec.Struct, frozen=True):
    """How many runs there are, by what they have in common."""

    schema_name: ClassVar[str] = "RunFacets"
    total: Annotated[int, v.said("How many runs there are; null where counting takes too long.", 12)] | None
    status: Annotated[list[FacetValue], _facet("status")] | None
    agent: Annotated[list[FacetValue], _facet("agent")] | None
    model: Annotated[list[FacetValue], _facet("model")] | None
    persona_id: Annotated[list[FacetValue], _facet("persona")] | None


class DurationTotal(msgspec.Struct, frozen=True):
    """How long the ended runs of a group took."""

    schema_name: ClassVar[str] = "RunDurations"
    group: Annotated[str, v.said("The hour or day, by its beginning, or the name; null for none.", "researcher")] | None
    runs: Annotated[int, v.said("How many runs of it have ended.", 12)]
    p50_ms: Annotated[int, v.said("Half of them took no longer, in milliseconds.", 890)]
    p95_ms: Annotated[int, v.said("95 of 100 took no longer, in milliseconds.", 4100)]
    max_ms: Annotated[int, v.said("The longest, in milliseconds.", 61000)]


class UsageOfRuns(msgspec.Struct, frozen=True):
    """What the runs of a group have used, without the runs below them."""

    schema_name: ClassVar[str] = "RunSum"
    group: Annotated[str, v.said("The hour or day, by its beginning, or the name; null for none.", "researcher")] | None
    runs: Annotated[int, v.said("How many runs it has.", 12)]
    usage: Annotated[UsageView, v.said("The tokens used.")]
    cost_usd: v.Dollars
    unpriced_calls: v.UnpricedCalls


def _decode_facets(call: Call) -> CountRuns:
    return CountRuns(read_filter(call.query))


def _encode_facets(outcome: RunFacets, command: object, call: Call) -> Reply:
    found = {
        name: None if values is None else [FacetValue(value, runs) for value, runs in values]
        for name, values in outcome.facets.items()
    }
    counted = found["status"]
    return reply_json(Facets(total=None if counted is None else sum(one.runs for one in counted), **found))


def _grouped(call: Call) -> tuple[str, RunFilter, int]:
    """What to group by, which runs, and how many groups."""
    by = call.query.get("by") or "hour"
    if by not in GROUPS:
        raise invalid_field("by", "must be one of " + ", ".join(GROUPS))
    return by, read_filter(call.query), query_int(call.query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)


def _decode_durations(call: Call) -> GetDurations:
    return GetDurations(*_grouped(call))


def _decode_sums(call: Call) -> SumRuns:
    return SumRuns(*_grouped(call))


def _group(by: str, value: str | int | None) -> str | None:
    return format_ms(value * _GROUP_MS[by]) if isinstance(value, int) else value


def _encode_durations(outcome: RunDurations, command: GetDurations, call: Call) -> Reply:
    rows = [DurationTotal(_group(command.by, group), *figures) for group, *figures in outcome.rows]
    return reply_json(Listing(rows, None))


def _encode_sums(outcome: RunSums, command: SumRuns, call: Call) -> Reply:
    rows = [
        UsageOfRuns(
            group=_group(command.by, one.group),
            runs=one.runs,
            usage=usage_view(one.usage),
            cost_usd=dollars_json(one.usage.cost_nanos),
            unpriced_calls=one.usage.unpriced_calls or 0,
        )
        for one in outcome.rows
    ]
    return reply_json(Listing(rows, None))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/run-facets", "count_runs", "How many runs there are, by status, agent, model and persona.",
        READ, _decode_facets, _encode_facets, query=FacetsQuery, reply=Facets,
    ),
    Endpoint(
        "GET", "/api/v1/run-durations", "get_durations",
        "How long ended runs took: half of them, 95 of 100, the longest; by hour, day, agent, model, status or thread.",
        READ, _decode_durations, _encode_durations, query=DurationsQuery, reply=Listing[DurationTotal],
    ),
    Endpoint(
        "GET", "/api/v1/run-sums", "sum_runs",
        "What runs have used: tokens and money, by hour, day, agent, model, status or thread, the dearest first.",
        READ, _decode_sums, _encode_sums, query=DurationsQuery, reply=Listing[UsageOfRuns],
    ),
)  # fmt: skip
"""The endpoints of figures."""
