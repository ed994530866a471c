"""Text of state is whole, and histories are named as the server names them."""

import json
from typing import Any

import pytest

from towerlog.model.names import message_name, prefix_names
from towerlog.sdk.record.histories import MAX_WHOLE_DEPTH, Conversation, NotWhole, whole_text


class Long:
    def __repr__(self) -> str:
        return "l" * 5000


def nested(levels: int) -> Any:
    found: Any = {(1,): 1}  # a key that keeps it from the fast way
    for _ in range(levels):
        found = [found]
    return found


def test_nothing_of_a_state_is_cut() -> None:
    value = {"o": Long(), "many": {1, *range(200_000)}, 7: "x" * 100_000, "nan": float("nan"), "half": "\ud83d"}
    found = json.loads(whole_text(value))
    assert found["o"] == "l" * 5000
    assert len(found["many"]) == 200_000
    assert (found["7"], found["nan"], found["half"]) == ("x" * 100_000, None, "\ufffd")


def test_what_has_no_whole_text_is_not_told_in_part() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (circle, nested(MAX_WHOLE_DEPTH + 1)):
        with pytest.raises(NotWhole):
            whole_text(value)
    assert whole_text(nested(MAX_WHOLE_DEPTH - 2))


@pytest.mark.parametrize("history", ["text", b"bytes", {"role": "user"}, 7], ids=str)
def test_a_history_is_a_list_of_messages(history: object) -> None:
    with pytest.raises(NotWhole, match="list of messages"):
        Conversation.of(history)


def test_beginnings_have_the_names_that_the_server_gives_them() -> None:
    told = Conversation.of([{"role": "user", "content": "é \n / 😀"}, {"n": 1.5}, "text"])
    assert told.texts[0] == '{"role":"user","content":"é \\n / 😀"}'.encode()
    assert told.names == prefix_names(map(message_name, told.texts))


@pytest.mark.parametrize(
    ("first", "second", "shared"), [("", "", 0), ("ab", "abc", 2), ("abc", "ab", 2), ("abc", "axc", 1), ("a", "b", 0)]
)
def test_what_two_histories_share_is_their_beginning(first: str, second: str, shared: int) -> None:
    assert Conversation.of(list(first)).shared_with(Conversation.of(list(second))) == shared


def test_data_of_a_checkpoint_is_json_with_and_without_a_base() -> None:
    told = Conversation.of([1, 2, 3])
    assert json.loads(told.data(b"{}")) == {"history": [1, 2, 3]}
    base = {"node": told.names[1].hex(), "length": 2}
    assert json.loads(told.data(b'{"step_index":4}', 2)) == {"step_index": 4, "base": base, "history": [3]}
