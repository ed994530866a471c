"""The row of an agent: its name, its last event and heartbeat, its counters."""

from __future__ import annotations

import re

import msgspec

from towerlog.model.usage import NO_USAGE, Usage

DEFAULT_AGENT = "default"
"""The agent of a run of which nobody has named one."""


MAX_AGENT_BYTES = 2_560
"""Of the row of an agent as it is stored."""


class AgentRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An agent as folded from its events."""

    agent: int
    org: int
    agent_id: str
    name: str
    created_at: int
    run_count: int = 0
    event_count: int = 0
    error_count: int = 0
    usage: Usage = NO_USAGE
    price_version: str | None = None
    """Of the prices that the computed part of its cost comes from; `several` for more than one."""
    last_event_at: int | None = None
    """Wall ms, like `last_heartbeat_at`: of the last event that came from it or its worker, not from the server or a
    person."""
    last_heartbeat_at: int | None = None


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What breaks a line or turns the direction of writing."""


_UNSEEN = re.compile(r"[\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0]")
"""What takes no room, or is not drawn, and joins no letters or signs: names that differ in it alone look the same."""
_BLANK = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
"""Blanks of other widths."""


def plain_name(name: str) -> str:
    """A name on one line, without control characters, what is unseen, and blanks around it; it may be nothing then."""
    # Both are fast and true for nearly all names.
    if name.isascii() and name.isprintable():
        return name.strip()
    fit = _UNSEEN.sub("", name)
    return " ".join(_CONTROL.sub(" ", fit).split()) if _CONTROL.search(fit) or _BLANK.search(fit) else fit.strip()


def is_blank(text: str) -> bool:
    """Whether nobody would see anything of a text."""
    return not text.strip() or not plain_name(text)


def normal_name(name: str) -> str:
    """The same of a name that is stored, possibly by a version that took it as it was; as it is where nothing would be
    left: no agent is called that."""
    return plain_name(name) or name
