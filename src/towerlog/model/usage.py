"""Tokens and money. Buckets are disjoint, unknown is None (never 0), money is integer nano-dollars.

What the figures of several reports add up to is in `model/spending.py`.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec
from msgspec.structs import astuple

from towerlog.model.usage_parts import UNCLEAR, UsageParts

NANOS_PER_DOLLAR = 1_000_000_000
MAX_NUMBER = 2**53
"""Largest count on the wire: readers that parse JSON numbers as doubles would round a larger one."""
MAX_DOLLARS = MAX_NUMBER // 1_000_000
"""Largest sum of money on the wire, in dollars: as nano-dollars it must fit a signed 64-bit integer."""
MAX_EVENT_DOLLARS = 1_000_000
"""What one event may tell, and what its tokens may come to: it takes thousands of those for a sum that does not fit."""
MAX_EVENT_NANOS = MAX_EVENT_DOLLARS * 1_000_000_000
MAX_SUM = 2**63 - 1
"""The integers of a store have 64 bits. A sum that has come to this is not known any more: whatever is added or taken,
it stays so, and a sum of money like that is shown as unknown."""


_NANO = Decimal("1e-9")
CostSource = Literal["reported", "computed", "mixed"]
"""Whether a cost was told by its senders or computed from tokens and prices; `mixed`: some of each."""


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Tokens and money that were consumed; no token is in two buckets.

    `total_tokens` is all of them. In a report it is what the sender says, None where it says nothing. In what was
    counted it is the sum of the buckets and of what no split is known of, so it is known wherever a bucket is.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    cost_nanos: int | None = None
    computed_nanos: int | None = None
    """The part of the cost that was computed here, from tokens and prices; None where nothing was. No sender tells it,
    nor what is below."""
    unpriced_calls: int | None = None
    """Reports of tokens whose cost is in no figure here: nobody told it, and no price is known."""

    def all_input_tokens(self) -> int | None:
        """Uncached, cached and cache-writing input together: what providers bill as input."""
        if self.cached_input_tokens is None and self.cache_write_tokens is None:
            return self.input_tokens  # most senders tell no more
        return add_known(self.input_tokens, self.cached_input_tokens, self.cache_write_tokens)

    def all_output_tokens(self) -> int | None:
        """Visible output and reasoning together."""
        return (
            self.output_tokens
            if self.reasoning_tokens is None
            else add_known(self.output_tokens, self.reasoning_tokens)
        )

    def split_tokens(self) -> int | None:
        """Input and output together: all tokens of which it is known what they were."""
        sent, written = self.all_input_tokens(), self.all_output_tokens()
        return add_known(sent, written) if sent is None or written is None else min(sent + written, MAX_SUM)

    def all_tokens(self) -> int | None:
        """All tokens: `total_tokens`, and where that is unknown the sum of the buckets."""
        return self.split_tokens() if self.total_tokens is None else self.total_tokens

    def unsplit_tokens(self) -> int:
        """Those of the total of which nobody has told what they were."""
        return (self.total_tokens or 0) - (self.split_tokens() or 0)

    def cache_hit_rate(self) -> float | None:
        """Cached input / all input; None when either is unknown or the input is 0."""
        everything = self.all_input_tokens()
        if self.cached_input_tokens is None or not everything:
            return None
        return self.cached_input_tokens / everything

    def reported_nanos(self) -> int:
        """The part of the cost that senders told."""
        return (self.cost_nanos or 0) - (self.computed_nanos or 0)

    def cost_source(self) -> CostSource | None:
        """Where the cost comes from; None where it is unknown."""
        if self.cost_nanos is None:
            return None
        if self.computed_nanos is None or (not self.computed_nanos and self.cost_nanos):
            return "reported"
        return "computed" if self.computed_nanos == self.cost_nanos else "mixed"


NO_USAGE = Usage()


class UsageReport(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Figures as they were sent, and how they are meant."""

    usage: Usage
    kind: Literal["total", "delta", "turn", "change", "rest"] = "total"
    """`total`: running totals, of one agent or of the run. `delta`: the increment of one model call. `turn`: a running
    total of all tokens beside input and output that are running totals where they add up to it, else an increment.
    `change`: what is added to an increment that was told before, which may be less than 0. `rest`: what totals count no
    more, since calls tell it; less than 0."""
    whole_run: bool = False
    """The running totals are of the whole run, not of one agent in it."""
    process_cost: bool = False
    """The cost is a running total of the reporting process: one counter for all agents in it, in this run and below."""
    process: str | None = None
    """Which process that is: the trace of the first run that it is known by, the topmost of those in the thread that it
    carries out, and a mark of who tells it. Worked out when the event is placed, for each cost of a run that has told
    such a total."""
    inclusive: bool = False
    """Of running totals: what was read from a cache or written to it is in the input where it is not told beside it,
    and reasoning in the output."""
    fell: bool | None = None
    """Whether a cost of its process is a fall: its agent has told more at an earlier step, or less at a later one.
    Worked out when the event is placed; None where that cannot be: then each that is lower than before is one."""
    parts: UsageParts | None = None
    """What its price goes by beside the buckets; None for nothing."""
    by_size: bool = False
    """Of running totals of an agent: each adds what it says beyond the next lower one, whichever came first. False in
    events of versions before this, where it adds what it says beyond those that came before."""

    def is_of_one_call(self) -> bool:
        """Whether its figures are of one model call. What a total adds may be of several, or be a part of one."""
        return self.kind == "delta"

    def parts_to_price(self) -> UsageParts | None:
        """The parts of what it adds. Where a total has some, nobody knows whether they are in what it adds."""
        return self.parts if self.parts is None or self.is_of_one_call() else UNCLEAR


def add_known(*figures: int | None) -> int | None:
    """The sum of those that are known; None when none is."""
    known = [figure for figure in figures if figure is not None]
    return summed(*known) if known else None


def summed(*figures: int) -> int:
    """The sum; MAX_SUM where it does not fit, or where one of them did not."""
    found = sum(figures)
    if -MAX_SUM < found < MAX_SUM and MAX_SUM not in figures:  # nearly always, and asked with every call
        return found
    return MAX_SUM if MAX_SUM in figures else max(-MAX_SUM, min(found, MAX_SUM))


def add(left: Usage, right: Usage) -> Usage:
    """The sum, bucket by bucket; unknown + unknown stays unknown."""
    # Most events carry no usage: by identity, before eight comparisons.
    if left is NO_USAGE:
        return right
    if right is NO_USAGE:
        return left
    return _combine(left, right, 1)


def highest(left: Usage, right: Usage) -> Usage:
    """The larger figure of each bucket; one that is unknown gives way to one that is known."""
    if left is NO_USAGE or left == right:
        return right
    if right is NO_USAGE:
        return left
    # By place and without a call for what only one of the two knows, as in `_combine`.
    one, two, three, four, five, six, seven, _, _ = astuple(left)
    first, second, third, fourth, fifth, sixth, seventh, _, _ = astuple(right)
    return Usage(
        first if one is None else one if first is None or one >= first else first,
        second if two is None else two if second is None or two >= second else second,
        third if three is None else three if third is None or three >= third else third,
        fourth if four is None else four if fourth is None or four >= fourth else fourth,
        fifth if five is None else five if fifth is None or five >= fifth else fifth,
        sixth if six is None else six if sixth is None or six >= sixth else sixth,
        seventh if seven is None else seven if seventh is None or seven >= seventh else seventh,
    )


def whole(usage: Usage) -> Usage:
    """With `total_tokens` at least the sum of the buckets: a bare total counts what it says beyond them."""
    split = usage.split_tokens()
    if split is None or (usage.total_tokens is not None and usage.total_tokens >= split):
        return usage
    return msgspec.structs.replace(usage, total_tokens=split)


def larger(left: int | None, right: int | None) -> int | None:
    """The larger of two figures that may be unknown."""
    if left is None or right is None:
        return right if left is None else left
    return max(left, right)


def falls(known: Usage, newer: Usage) -> bool:
    """Whether a figure of a newer running total is below what is known of it."""
    for before, after in zip(astuple(known), astuple(newer), strict=True):
        if before is not None and after is not None and after < before:
            return True
    return False


def subtract(left: Usage, right: Usage) -> Usage:
    """What has to be added to `right` to get `left`."""
    return left if right is NO_USAGE else _combine(left, right, -1)


def _combine(left: Usage, right: Usage, sign: int) -> Usage:
    # Nearly all that is added knows only some of its figures: the others need no call.
    one, two, three, four, five, six, seven, eight, nine = astuple(right)
    return Usage(
        left.input_tokens if one is None else _sum(left.input_tokens, one, sign),
        left.cached_input_tokens if two is None else _sum(left.cached_input_tokens, two, sign),
        left.cache_write_tokens if three is None else _sum(left.cache_write_tokens, three, sign),
        left.output_tokens if four is None else _sum(left.output_tokens, four, sign),
        left.reasoning_tokens if five is None else _sum(left.reasoning_tokens, five, sign),
        left.total_tokens if six is None else _sum(left.total_tokens, six, sign),
        left.cost_nanos if seven is None else _sum(left.cost_nanos, seven, sign),
        left.computed_nanos if eight is None else _sum(left.computed_nanos, eight, sign),
        left.unpriced_calls if nine is None else _sum(left.unpriced_calls, nine, sign),
    )


def _sum(left: int | None, right: int, sign: int) -> int:
    figure = (left or 0) + sign * right
    if -MAX_SUM < figure < MAX_SUM and left != MAX_SUM and right != MAX_SUM:
        return figure
    # Not refused: every part of a sum was accepted before.
    return summed(left or 0, right if right == MAX_SUM else sign * right)


def parse_dollars(text: str, largest: int = MAX_DOLLARS) -> int:
    """Nano-dollars of a JSON number of dollars, exactly; digits past the ninth decimal are rounded half-even.

    Raises ValueError unless it is a plain number between 0 and `largest`.
    """
    # Decimal also takes "Infinity", " 1" and "1_000", which are no JSON numbers.
    if not text or text[0] not in "0123456789-":
        raise ValueError("must be a number of dollars or null")
    try:
        dollars = Decimal(text)
    except InvalidOperation:
        raise ValueError("must be a number of dollars or null") from None
    if dollars.is_signed() and dollars != 0:
        raise ValueError("must not be negative")
    if not dollars.is_finite() or dollars > largest:
        raise ValueError(f"is larger than {largest}")
    return int(dollars.quantize(_NANO).scaleb(9))


def format_dollars(nanos: int) -> str:
    """A JSON number of dollars with as few digits as possible: `2310000` becomes `0.00231`."""
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    whole, rest = divmod(nanos, NANOS_PER_DOLLAR)
    return f"{sign}{whole}" if not rest else f"{sign}{whole}.{rest:09d}".rstrip("0")


def dollars_json(nanos: int | None) -> msgspec.Raw:
    """`format_dollars` as raw JSON; `null` when unknown, as a sum is that does not fit."""
    is_known = nanos is not None and -MAX_SUM < nanos < MAX_SUM
    return msgspec.Raw(format_dollars(nanos).encode() if nanos is not None and is_known else b"null")


MAX_CELL_BYTES = 2_560
"""Of a roll-up cell as it is stored."""


class UsageRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A roll-up cell: one hour × agent × model × status. Cells are additive: two of the same key can be summed."""

    org: int
    hour: int
    """Hours since the Unix epoch."""
    agent: str
    model: str
    status: str
    events: int = 0
    runs_started: int = 0
    runs_ended: int = 0
    usage: Usage = NO_USAGE
    price_version: str | None = None
    """Of the prices that the computed part of the cost comes from; `several` for more than one."""


class RunSum(msgspec.Struct, frozen=True, gc=False):
    """What the runs of a group have used."""

    group: str | int | None
    """The name that they have in common, None for none; of hours and days their number since 1970."""
    runs: int
    usage: Usage


class RunSums(msgspec.Struct, frozen=True, gc=False):
    """Some groups of runs, in the order that was asked for."""

    rows: list[RunSum]
