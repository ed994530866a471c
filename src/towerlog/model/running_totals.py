"""Running totals of one agent, in the order of their size: what each of them adds is the same in whatever order they
come.

Some senders tell input and output as running totals too, others the figures of the last call beside a total of all
tokens. A call counts if it fits into what the total has grown by since the next lower one. So a total that comes
between two others may take a call back that has counted, and gives the one that it has overtaken its place.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from towerlog.model.usage import NO_USAGE, Usage, UsageReport, add, add_known, falls, highest, larger, subtract, whole

MAX_POINTS = 16
"""Running totals of an agent that find their places among each other, the highest ones. A lower one that comes later
adds nothing to the split of what is below them: that is unknown, and the total is right."""
MAX_POINTS_BYTES = 1152
"""Of those of one agent, as JSON. Past it the lowest are forgotten."""

_TURN, _INCLUSIVE, _UNCLEAR = 1, 2, 4
_NONE = (None, None, None)
TOKEN_BUCKETS = 6
"""So many of the figures of `Usage` are tokens, the first ones."""
_INPUT, _OUTPUT, _ALL = (0, 1, 2), (3, 4), (0, 1, 2, 3, 4, 5)
"""Places of the buckets of input and of output, and of all with that of the tokens without a split."""
_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode
_total_of = attrgetter("total")


class Sides(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The highest running totals of senders who tell input and output without a split: cached tokens and reasoning are
    inside them."""

    input: int | None = None
    output: int | None = None


NO_SIDES = Sides()


class Point(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One running total, as it was told."""

    total: int
    step: int
    """Of the checkpoint that told it, the lowest; -1 for none."""
    how: int
    """Whether its figures may be those of one call, include what was cached, and have parts of another price; added."""
    place: int
    """The `number` of what counts it among the `told_totals` of its run; 0 while there is none."""
    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None

    def usage(self) -> Usage:
        """Its split."""
        return Usage(*astuple(self)[4:])

    def may_be_call(self) -> bool:
        """Whether its figures may be those of one call."""
        return bool(self.how & _TURN)

    def is_inclusive(self) -> bool:
        """Whether cached tokens are inside the input tokens, as its report says."""
        return bool(self.how & _INCLUSIVE)

    def is_unclear(self) -> bool:
        """Whether some of its tokens have a price of their own."""
        return bool(self.how & _UNCLEAR)

    def says_all(self) -> bool:
        """Whether it has a split of all its tokens."""
        return self.usage().split_tokens() == self.total

    def merged(self, other: Point) -> Point:
        """One that says what both of the same total do, in the place of that of the lower step.

        Beside one that has a split of all the figures of a call say nothing, and of two such ones that counts which
        says more of what was cached, or thought.
        """
        first = self if self.step <= other.step else other
        how, split = self.how | other.how, highest(self.usage(), other.usage())
        if self.says_all() and other.says_all():
            split = _with_details(self.usage(), other.usage())
        elif self.says_all() and other.may_be_call():
            how, split = self.how, self.usage()
        elif other.says_all() and self.may_be_call():
            how, split = other.how, other.usage()
        return Point(self.total, first.step, how, first.place, *astuple(split)[:5])


def _with_details(one: Usage, other: Usage) -> Usage:
    """The split of two that each have all tokens: what either tells of cached input and of reasoning. Where they do not
    agree about what was input, that with more of it."""
    sent, beside, both = one.all_input_tokens() or 0, other.all_input_tokens() or 0, highest(one, other)
    fresh = sent - (both.cached_input_tokens or 0) - (both.cache_write_tokens or 0)
    if sent != beside or fresh < 0:
        return max(one, other, key=lambda usage: (usage.all_input_tokens() or 0, *_figures(usage)))
    visible = (one.all_output_tokens() or 0) - (both.reasoning_tokens or 0)
    return Usage(
        None if both.input_tokens is None else fresh,
        both.cached_input_tokens,
        both.cache_write_tokens,
        None if both.output_tokens is None else visible,
        both.reasoning_tokens,
    )


class Level(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What running totals say together, up to the highest of them."""

    top: int = -1
    """The highest; -1 for none."""
    step: int = -1
    """Of the checkpoint that told it."""
    totals: Usage = NO_USAGE
    sides: Sides = NO_SIDES
    turn: Usage = NO_USAGE
    """The newest call in it: that may be told again with better figures."""

    def after(self, point: Point) -> Level:
        """With one more."""
        usage, top = point.usage(), max(self.top, point.total)
        grown, split = point.total - max(0, self.top), usage.split_tokens() or 0
        totals = _replace(self.totals, total_tokens=larger(self.totals.total_tokens, point.total))
        found = Level(top, point.step, totals, self.sides, self.turn)
        if point.may_be_call():
            # The total has grown by this call, or by more. A checkpoint that repeats the figures of its last call
            # leaves it where it was, and totals exceed what they have grown by; only the first turn's are both.
            if split <= grown:
                return found._with_call(usage, usage, point.is_inclusive())
            if self.turn != NO_USAGE and point.step == self.step >= 0:
                # The same step told again with better figures: the total has grown by what they are more, at least.
                better = highest(self.turn, usage)
                more = subtract(better, self.turn)
                if (more.split_tokens() or 0) <= grown:
                    return found._with_call(more, better, point.is_inclusive())
            if split != point.total:
                return found
        totals, sides, _ = after_total(totals, self.sides, usage, point.is_inclusive())
        return _replace(found, totals=totals, sides=sides)

    def _with_call(self, more: Usage, call: Usage, inclusive: bool) -> Level:
        if not inclusive or (more.input_tokens is None and more.output_tokens is None):
            return _replace(self, totals=add(self.totals, more), turn=call)
        sides = Sides(
            add_known(self.sides.input, more.all_input_tokens()), add_known(self.sides.output, more.all_output_tokens())
        )
        bare = _replace(more, input_tokens=None, output_tokens=None)
        return _replace(self, totals=add(self.totals, bare), sides=sides, turn=call)

    def raised(self, point: Point) -> Level:
        """With a lower one, of which only totals count: nobody knows whether the call has counted already."""
        usage = point.usage()
        if point.may_be_call() and usage.split_tokens() != point.total:
            return self
        totals, sides, _ = after_total(self.totals, self.sides, usage, point.is_inclusive())
        return _replace(self, totals=totals, sides=sides)

    def counted(self) -> Usage:
        """Its tokens, where nothing else is told."""
        return rest_of(NO_USAGE, self.totals, self.sides)

    def only_grows(self, point: Point) -> bool:
        """Whether a higher one leaves what all before it say as it is: no bucket has fewer tokens then."""
        split = (self.sides.input or 0) + (self.sides.output or 0)
        if astuple(point)[5:7] == _NONE[1:] and point.reasoning_tokens is None and split >= self.top:
            return True  # of most senders: all have a split, and what was cached they do not tell
        was, now = _figures(self.counted()), _figures(self.after(point).counted())
        return all(one <= other for one, other in zip(was, now, strict=True))


class PointChange(NamedTuple):
    """A running total that counts otherwise beside one more."""

    point: Point
    before: Usage
    after: Usage


class RunningTotals(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The highest running totals of an agent, the lowest first, and what those below them say together."""

    base: Level = Level()
    points: tuple[Point, ...] = ()

    def after(self, point: Point) -> RunningTotals:
        """With one more."""
        return self._with_point(point).of_highest(MAX_POINTS)

    def _with_point(self, point: Point) -> RunningTotals:
        if point.total <= self.base.top:
            return _replace(self, base=self.base.raised(point))
        at = bisect_left(self.points, point.total, key=_total_of)
        found = self.points[at] if at < len(self.points) else None
        if found is not None and found.total == point.total:
            both = found.merged(point)
            same = both == found
            return self if same else _replace(self, points=(*self.points[:at], both, *self.points[at + 1 :]))
        return _replace(self, points=(*self.points[:at], point, *self.points[at:]))

    def of_highest(self, count: int) -> RunningTotals:
        """With so many points at most: the lowest are in the base."""
        base, lower = self.base, max(0, len(self.points) - count)
        for point in self.points[:lower]:
            base = base.after(point)
        return RunningTotals(base, self.points[lower:]) if lower else self

    def within_bytes(self) -> RunningTotals:
        """With as many of the highest points as may be remembered."""
        running, count = self, len(self.points)
        while count > 1 and len(_encode((running,))) > MAX_POINTS_BYTES:
            count -= 1
            running = running.of_highest(count)
        return running

    def above(self, place: int) -> RunningTotals:
        """With those above all that are counted in this place, which is forgotten."""
        lower = max((at for at, point in enumerate(self.points, 1) if place and point.place == place), default=0)
        return self.of_highest(len(self.points) - lower)

    def in_place(self, total: int, place: int) -> RunningTotals:
        """With the place of the one of this total that has none yet."""
        points = tuple(
            _replace(point, place=place) if point.total == total and not point.place else point for point in self.points
        )
        return self if points == self.points else _replace(self, points=points)

    def level(self) -> Level:
        """What all of them say together."""
        level = self.base
        for point in self.points:
            level = level.after(point)
        return level

    def changes(self, point: Point, level: Level) -> list[PointChange]:
        """What counts otherwise of those that are there when this one has come. `level`: what all of these say."""
        if not self.points or (point.total > self.points[-1].total and level.only_grows(point)):
            return []  # nearly always
        beside = self._with_point(point)
        if beside is self:
            return []  # it says the same
        before, after = self._added(), beside._added()
        found: list[PointChange] = []
        for one in self.points:
            (was, _), (now, placed) = before[one.total], after[one.total]
            if placed.place != one.place:
                now = NO_USAGE  # it is counted with the one that has come
            if was != now:
                found.append(PointChange(one, was, now))
        return found

    def _added(self) -> dict[int, tuple[Usage, Point]]:
        """What each of them adds, by its total: never less than nothing of any bucket."""
        level, levels = self.base, [self.base.counted()]
        for point in self.points:
            level = level.after(point)
            levels.append(level.counted())
        for at in range(len(levels) - 2, -1, -1):
            levels[at] = _within(levels[at], levels[at + 1])
        added = (subtract(now, was) for was, now in pairwise(levels))
        return {point.total: (usage, point) for point, usage in zip(self.points, added, strict=True)}


def _within(level: Usage, above: Usage) -> Usage:
    """What totals say up to one of them, by what the next higher one says too: no bucket has more than there.

    What was told as input is cached where the next one says that so much was, and what had no split has that of the
    next one; in which of the totals before it, nobody knows, so it is of all of them as far as there is room.
    """
    told, most = _figures(level), _figures(above)
    if all(one <= other for one, other in zip(told, most, strict=True)):
        return level  # nearly always
    kept = [min(one, other) for one, other in zip(told, most, strict=True)]
    # The input in what else there is of input, the output likewise; and what is left, and had no split, anywhere.
    for moved, places in ((_INPUT, _INPUT), (_OUTPUT, _OUTPUT), (_ALL, _ALL)):
        spare = sum(told[at] for at in moved) - sum(kept[at] for at in moved)
        room = sum(most[at] - kept[at] for at in places)
        for at in places:
            free = most[at] - kept[at]
            if spare > 0 < free:
                some = min(free, -(-spare * free // room))
                kept[at], spare = kept[at] + some, spare - some
            room -= free
    known = [one is not None for one in astuple(level)[: TOKEN_BUCKETS - 1]]
    split = [tokens if is_known or tokens else None for tokens, is_known in zip(kept[:-1], known, strict=True)]
    return _replace(Usage(*split), total_tokens=sum(kept))


def _figures(usage: Usage) -> list[int]:
    """The tokens of each bucket, and at the end those of none."""
    return [*(figure or 0 for figure in astuple(usage)[: TOKEN_BUCKETS - 1]), usage.unsplit_tokens()]


def point_of(report: UsageReport, step_index: int | None) -> Point | None:
    """A report as such a total; None where it tells none of one agent's tokens."""
    usage = report.usage
    if report.whole_run or report.kind not in ("total", "turn"):
        return None
    total = whole(usage).total_tokens if report.kind == "total" else usage.all_tokens()
    if total is None:
        return None
    how = _TURN * (report.kind == "turn") + _INCLUSIVE * report.inclusive + _UNCLEAR * (report.parts is not None)
    return Point(total, -1 if step_index is None else step_index, how, 0, *astuple(usage)[:5])


def after_total(known: Usage, sides: Sides, told: Usage, inclusive: bool) -> tuple[Usage, Sides, bool]:
    """The highest totals after one more, and whether it was below what was known."""
    if not inclusive or (told.input_tokens is None and told.output_tokens is None):
        return highest(known, told), sides, falls(known, told)
    bare = _replace(told, input_tokens=None, output_tokens=None)
    sent, written = told.all_input_tokens(), told.all_output_tokens()
    newer = Sides(larger(sides.input, sent), larger(sides.output, written))
    fell = falls(known, bare) or (sides.input or 0) > (sent or newer.input or 0)
    return highest(known, bare), newer, fell or (sides.output or 0) > (written or newer.output or 0)


def rest_of(calls: Usage, totals: Usage, sides: Sides) -> Usage:
    """The tokens that totals say beyond calls. Tokens that one tells as input and another as cached are the same."""
    if totals == NO_USAGE and sides == NO_SIDES:
        return NO_USAGE
    if calls == NO_USAGE and (totals.cached_input_tokens, totals.cache_write_tokens, totals.reasoning_tokens) == _NONE:
        # Of most senders who tell totals: what is worked out below comes to this.
        sent, written = larger(totals.input_tokens, sides.input), larger(totals.output_tokens, sides.output)
        both = add_known(sent, written)
        total = totals.total_tokens if both is None else max(both, totals.total_tokens or 0)
        return NO_USAGE if total is None else Usage(sent, output_tokens=written, total_tokens=total)
    fresh, cached, written = _beyond(
        (totals.input_tokens, totals.cached_input_tokens, totals.cache_write_tokens),
        (calls.input_tokens, calls.cached_input_tokens, calls.cache_write_tokens),
        sides.input,
    )
    visible, thought = _beyond(
        (totals.output_tokens, totals.reasoning_tokens), (calls.output_tokens, calls.reasoning_tokens), sides.output
    )
    rest = Usage(fresh, cached, written, visible, thought)
    split = add(calls, rest).split_tokens()
    if totals.total_tokens is None and rest == NO_USAGE:
        return NO_USAGE
    more = max(totals.total_tokens or 0, split or 0) - (whole(calls).total_tokens or 0)
    return _replace(rest, total_tokens=max(0, more))


def _beyond(totals: tuple[int | None, ...], calls: tuple[int | None, ...], side: int | None) -> list[int | None]:
    """What totals say of each bucket beyond calls. `side`: of all of these together, whatever they are; what it says
    beyond the others is of the first one."""
    more = [None if one is None else max(0, one - (known or 0)) for one, known in zip(totals, calls, strict=True)]
    if side is None:
        return more
    spare = max(0, side - sum(known or 0 for known in calls))
    for at in range(1, len(more)):
        part = more[at]
        if part is not None:
            more[at] = part = min(part, spare)
            spare -= part
    more[0] = max(more[0] or 0, spare)
    return more
