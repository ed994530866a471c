"""Accounts of one call in one request, of which one names the response and the other does not: they are one response.

An instrumentation of a framework does not know the id of what was streamed, and the client's own span does. Both are of
one process, by two libraries, about one model and the same tokens, and one is within the time of the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from towerlog.dialects.otlp import lookups
from towerlog.dialects.otlp.spans import ToldSpan
from towerlog.model.usage import Usage

MAX_COMPARED = 32
"""Calls that one without an id is compared with: the first that end after it has begun."""


class CallAccount(Protocol):
    """A model call that tells figures."""

    @property
    def span(self) -> ToldSpan:
        """As it was told."""

    @property
    def usage(self) -> Usage:
        """Its figures."""

    @property
    def response_id(self) -> str | None:
        """The id that it names, or was lent."""


T = TypeVar("T", bound=CallAccount)


def lent_ids(calls: Iterable[T]) -> list[tuple[T, str]]:
    """Calls that name no response, each with the id of the call that is one with it; no id is lent twice."""
    named: dict[tuple[int, int], list[T]] = {}
    nameless: list[T] = []
    for one in calls:
        if one.response_id is None:
            nameless.append(one)
        elif lookups.is_of_one_response(one.response_id):
            named.setdefault(_tokens(one), []).append(one)
    if not nameless or not named:
        return []
    for some in named.values():
        some.sort(key=_end)
    found, lent = list[tuple[T, str]](), set[str]()
    for one in nameless:
        some = named.get(_tokens(one), [])
        first = bisect_left(some, one.span.start, key=_end)
        response_id = _partner(one, some[first : first + MAX_COMPARED], lent)
        if response_id is not None:
            lent.add(response_id)
            found.append((one, response_id))
    return found


def _end(one: CallAccount) -> int:
    return one.span.end


def _tokens(one: CallAccount) -> tuple[int, int]:
    return one.usage.all_input_tokens() or 0, one.usage.all_output_tokens() or 0


def _partner(one: CallAccount, others: Sequence[CallAccount], lent: set[str]) -> str | None:
    for other in others:
        response_id = other.response_id
        if response_id is not None and response_id not in lent and _tell_of_one_call(one.span, other.span):
            return response_id if any(_tokens(one)) else None
    return None


def _tell_of_one_call(one: ToldSpan, other: ToldSpan) -> bool:
    """Whether two spans of the same tokens are of one call, as far as can be told: the second names a response."""
    # In one trace they are siblings: of two above each other the upper counts what exceeds the lower. In another the
    # client stands alone, since it does not know what it was called from.
    is_placed = one.parent_id == other.parent_id if one.trace_id == other.trace_id else not other.parent_id
    if not is_placed or one.source.scope == other.source.scope or one.source.resource != other.source.resource:
        return False
    models = (lookups.model_of(one) or "", lookups.model_of(other) or "")
    # One may name what was asked for, and the other the version of it that has answered.
    is_one_model = models[0].startswith(models[1]) or models[1].startswith(models[0])
    is_within = other.start >= one.start and other.end <= one.end
    return is_one_model and all(models) and (is_within or (one.start >= other.start and one.end <= other.end))
