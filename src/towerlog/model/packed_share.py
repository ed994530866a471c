"""What one agent has told in a run as a text of a few dozen letters: a row has room for hundreds of these.

A letter that says how many running totals there are (`A` for none), a small one for an agent that waits for an
approval; then whole numbers as base64, each in bytes of seven bits, the lowest first. One that may be below 0 is
doubled, and odd where it is. What follows from the rest is left out.
"""

from __future__ import annotations

import functools
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import astuple

from towerlog.model.agent_share import AgentShare
from towerlog.model.computed_costs import NO_COMPUTED, Computed
from towerlog.model.running_totals import NO_SIDES, Level, Point, RunningTotals, Sides, rest_of
from towerlog.model.usage import NO_USAGE, Usage

MAX_UNPACKED = 1_024
"""Texts of which it is remembered what they say: one event asks for that of its agent several times."""
_FIGURES = len(NO_USAGE.__struct_fields__)
_NO_LEVEL = Level()
_SEVERAL, _REST, _RUNNING, _BASE, _DERIVED, _CALLS_FORGOTTEN, _ALL_FORGOTTEN, _FLOOR = (1 << bit for bit in range(8))
_replace = msgspec.structs.replace


def pack(share: AgentShare, place: int) -> str:
    """What an agent has told as a text; `place`: of its model, 0 for none."""
    running, totals, sides, turn = share.running, share.totals, share.sides, share.turn
    flags = _SEVERAL * share.several_models
    flags |= {None: 0, "calls": _CALLS_FORGOTTEN, "totals": _ALL_FORGOTTEN}[share.forgotten]
    if running is not None:
        cost, level = totals.cost_nanos, running.level()
        flags |= _RUNNING | _BASE * (running.base != _NO_LEVEL)
        if (level.totals, level.sides, level.turn) == (_replace(totals, cost_nanos=None), sides, turn):
            flags |= _DERIVED
            totals, sides, turn = Usage(cost_nanos=cost), NO_SIDES, NO_USAGE
    if share.rest != rest_of(share.increments, share.totals, share.sides):
        flags |= _REST
    numbers = [flags, place, share.step_index + 1, share.awaited_step + 1]
    for value in (share.increments, totals, sides, turn, share.computed, share.computed_total):
        _put(numbers, astuple(value))
    if share.floor is not None:
        numbers[0] |= _FLOOR
        numbers.append(share.floor)
    if flags & _REST:
        _put(numbers, astuple(share.rest))
    if running is not None:
        _put_running(numbers, running, has_base=bool(flags & _BASE))
    letter = chr(ord("A") + (0 if running is None else len(running.points)))
    return (letter if share.awaited_step < 0 else letter.lower()) + _text_of(numbers)


@functools.lru_cache(maxsize=MAX_UNPACKED)
def unpack(packed: str) -> tuple[AgentShare, int]:
    """What `pack` was given, without the model."""
    numbers = _numbers_of(packed[1:])
    flags, place, step_index, awaited_step = next(numbers), next(numbers), next(numbers) - 1, next(numbers) - 1
    increments, totals, sides, turn = _usage(numbers), _usage(numbers), _sides(numbers), _usage(numbers)
    computed, computed_total = _computed(numbers), _computed(numbers)
    floor = next(numbers) if flags & _FLOOR else None
    rest = _usage(numbers) if flags & _REST else None
    running = _running(numbers, points_in(packed), has_base=bool(flags & _BASE)) if flags & _RUNNING else None
    if running is not None and flags & _DERIVED:
        level, cost = running.level(), totals.cost_nanos
        totals = level.totals if cost is None else _replace(level.totals, cost_nanos=cost)
        sides, turn = level.sides, level.turn
    share = AgentShare(
        increments,
        totals,
        sides,
        rest_of(increments, totals, sides) if rest is None else rest,
        turn,
        running,
        several_models=bool(flags & _SEVERAL),
        step_index=step_index,
        awaited_step=awaited_step,
        computed=computed,
        computed_total=computed_total,
        forgotten="calls" if flags & _CALLS_FORGOTTEN else "totals" if flags & _ALL_FORGOTTEN else None,
        floor=floor,
    )
    return share, place


def points_in(packed: str) -> int:
    """How many running totals stand in such a text."""
    return ord(packed[0].upper()) - ord("A")


def _put(numbers: list[int], figures: Iterable[int | None]) -> None:
    """Which of them are known, and these."""
    at = len(numbers)
    numbers.append(0)
    for bit, figure in enumerate(figures):
        if figure is not None:
            numbers[at] |= 1 << bit
            numbers.append(_doubled(figure))


def _put_running(numbers: list[int], running: RunningTotals, *, has_base: bool) -> None:
    if has_base:
        base = running.base
        numbers += (base.top + 1, base.step + 1)
        for value in (base.totals, base.sides, base.turn):
            _put(numbers, astuple(value))
    total = step = place = 0
    for point in running.points:
        # Most tell input and output alone: then how it counts and what it tells are one byte.
        figures = (
            point.input_tokens, point.output_tokens, point.cached_input_tokens, point.reasoning_tokens,
            point.cache_write_tokens,
        )  # fmt: skip
        known = sum(8 << bit for bit, figure in enumerate(figures) if figure is not None)
        numbers += (known | point.how, _doubled(point.total - total), _doubled(point.step - step))
        numbers.append(_doubled(point.place - place))
        numbers += [_doubled(figure) for figure in figures if figure is not None]
        total, step, place = point.total, point.step, point.place


def _figures(numbers: Iterator[int], count: int) -> list[int | None]:
    known = next(numbers)
    return [_halved(next(numbers)) if known >> bit & 1 else None for bit in range(count)]


def _usage(numbers: Iterator[int]) -> Usage:
    figures = _figures(numbers, _FIGURES)
    return Usage(*figures) if any(one is not None for one in figures) else NO_USAGE


def _sides(numbers: Iterator[int]) -> Sides:
    sent, written = _figures(numbers, 2)
    return NO_SIDES if sent is None and written is None else Sides(sent, written)


def _computed(numbers: Iterator[int]) -> Computed:
    nanos, unpriced = _figures(numbers, 2)
    return NO_COMPUTED if nanos is None and not unpriced else Computed(nanos, unpriced or 0)


def _running(numbers: Iterator[int], count: int, *, has_base: bool) -> RunningTotals:
    base = _NO_LEVEL
    if has_base:
        top, step = next(numbers) - 1, next(numbers) - 1
        base = Level(top, step, _usage(numbers), _sides(numbers), _usage(numbers))
    points, total, step, place = list[Point](), 0, 0, 0
    for _ in range(count):
        head = next(numbers)
        total, step = total + _halved(next(numbers)), step + _halved(next(numbers))
        place += _halved(next(numbers))
        sent, written, cached, thought, kept = (
            _halved(next(numbers)) if head >> bit & 1 else None for bit in range(3, 8)
        )
        points.append(Point(total, step, head & 7, place, sent, cached, kept, written, thought))
    return RunningTotals(base, tuple(points))


def _doubled(figure: int) -> int:
    return 2 * figure if figure >= 0 else -2 * figure - 1


def _halved(number: int) -> int:
    return -(number + 1 >> 1) if number & 1 else number >> 1


def _text_of(numbers: list[int]) -> str:
    found = bytearray()
    for number in numbers:
        while number > 127:
            found.append(number & 127 | 128)
            number >>= 7
        found.append(number)
    return b64encode(found).decode().rstrip("=")


def _numbers_of(text: str) -> Iterator[int]:
    number = shift = 0
    for byte in b64decode(text + "=" * (-len(text) % 4)):
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
