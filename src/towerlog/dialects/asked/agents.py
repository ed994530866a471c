"""Names of agents where something is asked by them, or made for them: in the form in which events are kept."""

from __future__ import annotations

from towerlog.dialects.base import MAX_LABEL_CHARS
from towerlog.dialects.fields import agent_name, invalid_field, text_id


def agent_asked(value: str | None, field: str) -> str | None:
    """An agent's name where something is asked of it, or made for it: in the form in which events are kept under it.
    None for none; a name of blanks alone, which would mean any agent, is refused."""
    fit = agent_name(value, field, [])
    if value and fit is None:
        raise invalid_field(field, "must not be blank")
    return fit


def agent_needed(value: str | None, field: str) -> str:
    """Name for creating an agent: required, valid in URLs, without control characters."""
    return text_id(agent_asked(text_id(value, field, MAX_LABEL_CHARS), field), field)
