"""What entries of the audit say of an object, and what they leave unsaid."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.tables import table
from towerlog.engine.audit.states import KEY_DIGEST
from towerlog.engine.audit.told import Tellings, ToldState
from towerlog.model.audit import SERVER, Action, make_entry
from towerlog.model.principal import Role

MADE = {"name": "o", "user_id": "u", "user_name": "ada", "key_id": "k"}
NOW = {"name": "ada", "user_id": "u", "scopes": ["admin"], KEY_DIGEST: "0123"}


@pytest.mark.parametrize(
    ("said", "differing"),
    [({}, []), ({KEY_DIGEST: "0123"}, []), ({KEY_DIGEST: "9999"}, [KEY_DIGEST])],
    ids=["a version before", "as it is", "another key"],
)
def test_an_organisation_tells_of_its_first_key_what_its_version_told(said, differing) -> None:
    entry = make_entry(1, 0, SERVER, Action.ORGANISATION_CREATE, ("organisation", "o"), None, MADE | said)
    tellings = Tellings("o")
    tellings.take(1, msgspec.json.encode(entry))
    [told] = tellings.possible(("key", "k"))
    assert told is not None
    assert told.differing(NOW) == differing
    [member] = tellings.possible(("member", "u"))
    assert member is not None
    assert member.differing({"name": "ada", "role": Role.ADMIN.value}) == []


@table(
    "told,row",
    [
        ({"scope": {"agent": "old "}}, {"scope": {"agent": "old"}}),
        ({"agent": "\u200bold"}, {"agent": "old"}),
        ({"scope": {"organisation": True}}, {"scope": {"organisation": True}}),
    ],
)
def test_an_agent_that_was_told_in_another_form_is_the_same(told: dict[str, Any], row: dict[str, Any]) -> None:
    """Rows bring it into one form when they are read; the entries of before stay as they were written."""
    assert ToldState(1, told).differing(row) == []
    changed = dict.fromkeys(row, "x")
    assert ToldState(1, told).differing(changed) == list(row)
