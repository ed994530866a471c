"""What of an agent's events its activity feed shows: by their types, and of some types by their facts."""

from __future__ import annotations

from msgspec.structs import astuple

from towerlog.model.event import Event, EventType
from towerlog.model.usage import NO_USAGE

FIGURES = 7
"""Tokens and the cost: the first ones of `Usage`."""
FEED_TYPES = frozenset(
    {
        EventType.TOOL_CALL,
        EventType.TOOL_RESULT,
        EventType.MODEL_CALL,
        EventType.CHECKPOINT,
        EventType.RUN_COMPLETED,
        EventType.RUN_FAILED,
        EventType.RUN_CANCELLED,
        EventType.BUDGET_EXCEEDED,
        EventType.USAGE_RECOUNTED,
        EventType.COST_REPRICED,
        EventType.OTHER,
    }
)
"""Types that an agent's activity feed may show; the others are not indexed for it."""
FEED_TYPES_WHEN_SPENT = frozenset(
    {
        EventType.CHECKPOINT,
        EventType.RUN_COMPLETED,
        EventType.RUN_FAILED,
        EventType.RUN_CANCELLED,
        EventType.USAGE_RECOUNTED,
        EventType.COST_REPRICED,
    }
)
"""Those of them that the feed shows only when they added tokens or money, or took some back."""
FEED_TYPES_SOMETIMES = FEED_TYPES_WHEN_SPENT | {EventType.OTHER}
"""Those that it shows only by what their facts say: of `other` also, that a provider has refused the agent's call."""
FEED_TYPES_ALWAYS = FEED_TYPES - FEED_TYPES_SOMETIMES


def has_spent(event: Event) -> bool:
    """Whether an event added tokens or money to its run, or took some back."""
    effects, spent = event.effects, event.facts.spent
    checkpoint = effects.checkpoint if event.type is EventType.CHECKPOINT else None
    if checkpoint is not None and (checkpoint.initial or checkpoint.decision):
        return False
    if spent is None:
        spent = NO_USAGE if effects.report is None else effects.report.usage
    # By figure: what a total adds may be the split of tokens that were counted without one, and so 0 in all.
    return any(astuple(spent)[:FIGURES]) or bool(event.facts.lost_nanos())


def has_feed_place(event: Event) -> bool:
    """Whether an event shows in its agent's feed: a turn or an end only if it spent something."""
    if event.type is EventType.OTHER:
        return event.effects.rate_limited or has_spent(event)
    return event.type in FEED_TYPES_ALWAYS or (event.type in FEED_TYPES_WHEN_SPENT and has_spent(event))
