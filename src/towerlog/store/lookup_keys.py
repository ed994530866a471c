"""What is looked up by more than an id: the keys of such look-ups, and what some of them find."""

from __future__ import annotations

from typing import NamedTuple

from towerlog.model.times import LATEST_MS


class Parent(NamedTuple):
    """What children name a run by."""

    run: int
    org: int
    run_id: str
    thread_id: str
    trace_id: str
    foreign_id: str


class Family(NamedTuple):
    """Runs below a run."""

    parent: Parent
    cancelling: bool
    """Those that are being cancelled as well as open ones;"""
    ended: bool = False
    """and those that have ended."""


class SpentSince(NamedTuple):
    """What was spent in the scope of a budget since a moment (wall ms; 0: since ever)."""

    org: int
    by: str
    """`organisation`, `agent`, `thread` or `run`."""
    name: str
    since: int
    top: Parent | None = None
    """Of a run's tree: what its children call it, where the run itself may not be stored yet."""
    until: int = LATEST_MS
    """And before this moment."""


class MemberCounts(NamedTuple):
    """How many members an organisation has, and how many of them are administrators."""

    members: int
    admins: int


class Respelled(NamedTuple):
    """What came again under an event's id: a short text, spelled in another way than the stored one."""

    run: int
    event_id: str
    text: bytes
    added: tuple[str, ...]
    """Members that are the server's word, and are not compared."""


class SpanWay(NamedTuple):
    """The way up from a span of a trace, each time to the span that the stored one names as its parent."""

    org: int
    runs: tuple[int, ...]
    """Those of the trace, in the order in which a span is looked for in them."""
    span_id: str
    levels: int
    """How many spans it has at most, with this one."""
    turns: str = "{}"
    """A JSON object: where it goes on from some spans, whatever is stored of them."""
    unstored: str = "{}"
    """The same from spans that are not stored, as far as that is known otherwise."""


def trace_of(way: SpanWay) -> SpanWay:
    """What the ways have in common that are looked up together: all but where they begin, and how long they are."""
    return way._replace(span_id="", levels=0)


class Claimant(NamedTuple):
    """Whose claim it is about: which agents it serves (None: any), its labels in order, and how many lanes at most."""

    org: int
    agents: tuple[str, ...] | None
    labels: tuple[tuple[str, str], ...]
    limit: int
