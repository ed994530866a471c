"""The keys of questions about calls: of one call in each process, and of no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from towerlog.sdk.integrations.openai_agents.approvals import places_of


def call(call_id: str | None, *, is_json: bool = False) -> Any:
    """As the library has it, or as a state that was read has it."""
    raw: Any = {"call_id": call_id} if is_json else SimpleNamespace(call_id=call_id)
    return SimpleNamespace(raw_item=raw, name="publish", arguments='{"text": "cold"}')


def keys(*items: Any, again: tuple[str, ...] = (), settled: tuple[str, ...] = ()) -> list[str]:
    return [key for _, key in places_of(items, again, settled)]


def test_a_call_has_the_same_key_in_each_process_and_no_other_call_has_it() -> None:
    assert keys(call("a")) == keys(call("a", is_json=True)) != keys(call("b"))


def test_calls_to_which_a_model_gives_one_id_have_keys_of_their_own() -> None:
    first, second = keys(call("a"), call("a"))
    assert first != second
    assert len({*keys(call(None), call(None))}) == 2


def test_a_key_of_a_question_that_is_over_is_not_used_again() -> None:
    [first] = keys(call("a"))
    [second] = keys(call("a"), settled=(first,))
    assert second != first
    assert keys(call("a"), again=(second,), settled=(first,)) == [second]
    assert keys(call("a"), settled=(first, second))[0] not in {first, second}
