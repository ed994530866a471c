"""Tokens that Codex tells: running totals, in events for people and in records of their own, in any order."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any, NamedTuple

from towerlog.cli.importers.events import Json, Values, object_of, text_of
from towerlog.provider_usage.figures import count

USAGE_RECORD = "token_usage_record"
"""A line of its own for what a response has used, beside the event for people or in its place."""
_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)


class ToldTokens(NamedTuple):
    """What a line says of tokens."""

    whose: str
    """Events for people and lines of their own tell the same totals, each in its order."""
    totals: dict[str, int]
    last: dict[str, int]
    """What the last call has used."""
    response_id: str | None = None


class CodexTotals:
    """Tokens that were counted, of running totals that are told twice, in any order."""

    def __init__(self, before: dict[str, int]) -> None:
        """`before`: what was told in an earlier file."""
        self._before = before
        self._counted: dict[str, int] = {}
        self._newest: dict[str, dict[str, int]] = {}
        """Who tells → the highest of each."""
        self._ended: dict[str, dict[str, int]] = {}
        """Who tells → the sum of the totals that have begun anew since."""
        self._responses: set[str] = set()
        self._summed: dict[str, int] = {}
        """Of records that tell no totals: what their responses have used."""
        self._last: dict[str, int] = {}
        """Of events that tell the last call alone: what the newest of them said."""
        self._is_answered = False
        """Whether a model has put out anything since."""

    def answered(self) -> None:
        """Notes that a model has put out something: what is told next is of that."""
        self._is_answered = True

    def copied(self, told: ToldTokens) -> None:
        """Notes what was told in another session."""
        self._counted |= told.totals
        self._before = dict(self._counted)

    def risen(self, told: ToldTokens) -> dict[str, int]:
        """By what the totals have risen.

        A total that falls moves nothing, and what it rises by afterwards counts from where it has been. Totals that are
        those of the last call alone have begun anew.
        """
        absolute = self._absolute(told)
        if not self._counted:
            self._counted = dict(self._before)
        used = {name: max(0, count - self._counted.get(name, 0)) for name, count in absolute.items()}
        self._counted |= {name: max(count, self._counted.get(name, 0)) for name, count in absolute.items()}
        return used

    def _absolute(self, told: ToldTokens) -> dict[str, int]:
        if not told.totals:
            return self._of_responses(told) if told.whose == USAGE_RECORD else self._of_last(told)
        newest, ended = self._newest.get(told.whose), self._ended.get(told.whose)
        if newest is None or ended is None:
            newest, ended = {}, max(self._ended.values(), key=lambda one: sum(one.values()), default={})
        if told.last and told.totals == told.last and _is_below(told.totals, newest):
            ended = {name: ended.get(name, 0) + count for name, count in newest.items()}
            newest = told.totals
        else:
            newest = newest | {name: max(count, newest.get(name, 0)) for name, count in told.totals.items()}
        self._newest[told.whose], self._ended[told.whose] = newest, ended
        return {name: count + ended.get(name, 0) for name, count in told.totals.items()}

    def _of_last(self, told: ToldTokens) -> dict[str, int]:
        """The total that the last call makes where none is told. Behind no further answer it is told once more."""
        if not told.last or (told.last == self._last and not self._is_answered):
            return {}
        self._last, self._is_answered = told.last, False
        newest = self._newest.get(told.whose, self._before)
        self._newest[told.whose] = newest | {name: count + newest.get(name, 0) for name, count in told.last.items()}
        ended = self._ended.setdefault(told.whose, {})
        return {name: count + ended.get(name, 0) for name, count in self._newest[told.whose].items()}

    def _of_responses(self, told: ToldTokens) -> dict[str, int]:
        if told.response_id is None or told.response_id in self._responses:
            return {}
        self._responses.add(told.response_id)
        self._summed |= {name: count + self._summed.get(name, 0) for name, count in told.last.items()}
        return {name: count + self._before.get(name, 0) for name, count in self._summed.items()}


def told_tokens(kind: str, payload: Json) -> ToldTokens | None:
    """What a line says of tokens; None for a line that says nothing of them."""
    if kind == USAGE_RECORD:
        last, response_id = _counts_of(payload.get("usage")), text_of(payload.get("response_id"))
        return ToldTokens(USAGE_RECORD, _counts_of(payload.get("thread_token_usage")), last, response_id)
    if kind == "event_msg" and payload.get("type") == "token_count":
        info = object_of(payload.get("info"))
        return ToldTokens(kind, _counts_of(info.get("total_token_usage")), _counts_of(info.get("last_token_usage")))
    return None


def told_before(values: Values) -> dict[str, int]:
    """What the totals of a file begin with, which goes on from an earlier file of the session: the least of what either
    of those who tell them says first, without the call that it tells."""
    found: dict[str, dict[str, int]] = {}
    alone = Counter[str]()
    """What events have told of calls before they told any total."""
    for _, value in values:
        entry = object_of(value)
        told = told_tokens(str(entry.get("type")), object_of(entry.get("payload")))
        if told is None or not told.last:
            continue
        if told.totals:
            of_file = Counter(told.last) + (alone if told.whose != USAGE_RECORD else Counter())
            found.setdefault(told.whose, {name: n - of_file[name] for name, n in told.totals.items()})
        elif told.whose != USAGE_RECORD:
            alone.update(told.last)
    first = min(found.values(), key=lambda one: sum(one.values()), default={})
    return {name: max(0, count) for name, count in first.items()}


def _counts_of(usage: Any) -> dict[str, int]:
    told = object_of(usage)
    return {name: tokens for name in _COUNTS if (tokens := _tokens_of(told.get(name))) is not None}


def _tokens_of(value: Any) -> int | None:
    """A count, which some write as a text."""
    with suppress(TypeError, ValueError, OverflowError):
        return None if value is None else count(value)
    return None


def _is_below(totals: dict[str, int], known: dict[str, int]) -> bool:
    return any(count < known.get(name, 0) for name, count in totals.items())
