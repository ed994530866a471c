"""Scopes of rules and budgets as they are sent: each member that is given narrows them, so none may be given empty."""

from __future__ import annotations

import msgspec

from towerlog.dialects.fields import invalid_field
from towerlog.model.agent import is_blank


def scope_members(body: msgspec.Struct) -> dict[str, str]:
    """The members that are given but for `organisation`. Raises Invalid for a blank one: taken for one that is left
    out, a variable that was not set would make it a scope of all that the organisation does."""
    given = {name: getattr(body, name) for name in body.__struct_fields__ if name != "organisation"}
    found = {name: value for name, value in given.items() if value is not msgspec.UNSET}
    for name, value in found.items():
        if is_blank(value):
            raise invalid_field(f"scope.{name}", "must not be blank")
    return found
