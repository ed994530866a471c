"""What is asked by an agent's name finds what events have under it; who sets one up gets a name that URLs can have."""

from __future__ import annotations

import pytest

from towerlog.dialects.asked.agents import agent_asked, agent_needed
from towerlog.dialects.fields import Warnings, agent_name
from towerlog.errors import Invalid

NAMES = ["writer", " writer\u00a0", "team/writer", "a\tb", "wri\u200bter", "x" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_asked_for_as_it_is_kept(name: str) -> None:
    warnings: Warnings = []
    assert agent_asked(name, "agent") == agent_name(name, "agent", warnings)


def test_none_is_asked_for_by_none_alone() -> None:
    assert agent_asked(None, "agent") is None
    assert agent_asked("", "agent") is None
    for wrong in (" ", "\u200b", "x" * 201):
        with pytest.raises(Invalid) as refused:
            agent_asked(wrong, "agent")
        assert refused.value.field == "agent"


@pytest.mark.parametrize("wrong", [None, "", " ", "a/b", "a\nb", ".."])
def test_an_agent_is_set_up_under_a_name_that_urls_can_have(wrong: str | None) -> None:
    assert agent_needed(" writer ", "agent") == "writer"
    with pytest.raises(Invalid):
        agent_needed(wrong, "agent")
