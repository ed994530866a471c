"""Rows of versions that took an agent's name as it was are read in the form in which events are kept under it."""

from __future__ import annotations

import msgspec
import pytest

from towerlog.model.alert import AlertScope
from towerlog.model.budget import BudgetScope
from towerlog.model.persona import Persona

OLD = [("writer ", "writer"), ("\u00a0writer\u200b", "writer"), ("two  words", "two  words"), (" ", " ")]


@pytest.mark.parametrize(("stored", "meant"), OLD)
def test_a_stored_name_is_read_in_its_normal_form(stored: str, meant: str) -> None:
    """What has nothing but blanks stays: an empty name would be that of runs without an agent."""
    text = msgspec.json.encode({"agent": stored})
    assert msgspec.json.decode(text, type=BudgetScope).agent == meant
    assert msgspec.json.decode(text, type=AlertScope).agent == meant
    persona = {"org": 1, "persona_key": "k", "version": "1", "agent": stored, "created_at": 0}
    assert msgspec.json.decode(msgspec.json.encode(persona), type=Persona).agent == meant
    assert BudgetScope(thread_id="t ").thread_id == "t "
