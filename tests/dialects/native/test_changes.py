"""What a change of something stored may say: a member that is left out stays, and null is no way to leave it out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dialects.calls import RUN, call
from towerlog import errors
from towerlog.dialects import DIALECTS
from towerlog.dialects.base import Endpoint
from towerlog.dialects.native import NATIVE

CHANGES = [one for dialect in (*DIALECTS, NATIVE) for one in dialect.endpoints if one.method == "PATCH" and one.request]
MEMBERS = [
    (one, field.name)
    for one in CHANGES
    for field in msgspec.structs.fields(one.request)
    if field.name != "dry_run"  # asks what a change would do, and changes nothing
]
ENDS = {"act", "email"}
"""Members of which null takes something away: no act any more, no address any more."""


def named(value: Any) -> str:
    return value.name if isinstance(value, Endpoint) else value


@pytest.mark.parametrize(("one", "member"), MEMBERS, ids=named)
def test_null_is_refused_where_nothing_can_be_taken_away(one: Endpoint, member: str) -> None:
    """A number that was mistyped is null in JSON: to answer 200 and change nothing would say that it was taken."""
    path = dict.fromkeys(("budget_id", "rule_id", "user_id"), RUN)
    if member in ENDS:
        one.decode(call({member: None}, path=path))
        return
    with pytest.raises(errors.Invalid, match=member):
        one.decode(call({member: None}, path=path))


@pytest.mark.parametrize("one", CHANGES, ids=named)
def test_what_is_left_out_stays(one: Endpoint) -> None:
    path = dict.fromkeys(("budget_id", "rule_id", "user_id"), RUN)
    one.decode(call({}, path=path))
    fields = {field.name: field.default for field in msgspec.structs.fields(one.request)}
    assert all(fields[member] is msgspec.UNSET for other, member in MEMBERS if other is one)
