"""Objects in events and in state: told by their members where they tell them, within a bound, and never raising."""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic_ai.messages import ModelRequest

from towerlog.sdk.record.encoder import EventEncoder
from towerlog.sdk.record.values.encoding import MAX_OBJECTS, Converted, encode_event, plain


class City(BaseModel):
    name: str
    key: SecretStr = SecretStr("hidden")


class Holder(BaseModel):
    """Holds what pydantic cannot say in JSON."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    city: City
    opaque: Any


@dataclass
class Node:
    """A tree whose children know their parent."""

    name: str
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    at: date
    deep: Node


class Lazy:
    """A descriptor that would ask a database."""

    def __get__(self, instance: object, owner: type) -> object:
        if instance is None:
            return self
        raise AssertionError("loaded")


@dataclass
class Row:
    loaded: int


Row.loaded = Lazy()  # type: ignore[assignment]


class Endless:
    """Each one dumps as two others."""

    def model_dump(self) -> list[Endless]:
        return [Endless(), Endless()]


class Colour(Enum):
    RED = (date(2026, 1, 2),)


class Refuses:
    def model_dump(self, **options: object) -> object:
        raise RuntimeError("no")


def test_models_and_dataclasses_are_told_by_their_members() -> None:
    tree = Node("root")
    tree.children.append(Node("leaf", tree))
    values = {"model": City(name="Oslo"), "data": Slotted(date(2026, 1, 2), Node("x")), "tree": tree}
    data = json.loads(encode_event({"data": {**values, "none": Refuses(), "row": Row.__new__(Row)}}))["data"]
    assert data["model"] == {"name": "Oslo", "key": "**********"}
    assert data["data"] == {"at": "2026-01-02", "deep": {"name": "x", "parent": None, "children": []}}
    leaf = {"name": "leaf", "parent": "<Node inside itself>", "children": []}
    assert data["tree"] == {"name": "root", "parent": None, "children": [leaf]}
    assert data["none"].startswith("<")
    assert data["row"] == {}
    kinds = data["towerlog_converted"]
    assert (kinds["model"], kinds["data"], kinds["data.at"], kinds["none"]) == ("City", "Slotted", "date", "Refuses")


def test_values_of_the_standard_library_are_told_as_json_would_have_them() -> None:
    uuid = UUID("0196b2c4-6a00-7000-8000-000000000001")
    at = datetime(2026, 4, 2, 10, 0, 1, 500_000, UTC)
    values = {
        "at": at,
        "day": date(2026, 1, 2),
        "clock": time(7, 30),
        "id": uuid,
        "price": Decimal("19.90"),
        "path": PurePosixPath("/tmp/a"),
        "colour": Colour.RED,
        "queue": deque([1, uuid]),
    }
    expected = {
        "at": "2026-04-02T10:00:01.500000+00:00",
        "day": "2026-01-02",
        "clock": "07:30:00",
        "id": str(uuid),
        "price": "19.90",
        "path": "/tmp/a",
        "colour": ["2026-01-02"],
        "queue": [1, str(uuid)],
    }
    data = json.loads(encode_event({"data": values}))["data"]
    kinds = data.pop("towerlog_converted")
    assert data == expected
    assert {name: kinds[name] for name in ("at", "id", "price", "colour", "colour.0", "queue", "queue.1")} == {
        "at": "datetime",
        "id": "UUID",
        "price": "Decimal",
        "colour": "Colour",
        "colour.0": "date",
        "queue": "deque",
        "queue.1": "UUID",
    }
    assert plain(deque([1] * 3, maxlen=2)) == [1, 1]


def test_what_a_model_cannot_say_in_json_does_not_cost_the_rest(recwarn: pytest.WarningsRecorder) -> None:
    holder = Holder(city=City(name="Oslo"), opaque=2j)
    data = json.loads(encode_event({"data": {"held": holder}}))["data"]
    assert (data["held"]["city"]["name"], data["held"]["opaque"]) == ("Oslo", "2j")
    assert not recwarn.list


def test_objects_that_never_end_are_told_within_a_bound() -> None:
    converted = Converted()
    told = plain(Endless(), converted)
    assert converted.reprs == {"Endless"}
    assert len(json.dumps(told)) < 200 * MAX_OBJECTS


def checkpoint(encoder: EventEncoder, *history: object) -> Any:
    line = encoder.encode({"type": "checkpoint", "data": {"step_index": 1, "history": list(history)}})
    assert line is not None
    return json.loads(line)["data"]


def test_a_checkpoint_of_models_and_dataclasses_is_whole() -> None:
    message = ModelRequest.user_text_prompt("x" * 5000)
    found = checkpoint(EventEncoder(), City(name="O" * 5000), message)
    assert found["history"][0] == {"name": "O" * 5000, "key": "**********"}
    assert found["history"][1]["parts"][0]["content"] == "x" * 5000
    assert found["towerlog_converted"]["history.0"] == "City"


@pytest.mark.parametrize(("kind", "member"), [("run.started", "input"), ("run.completed", "result")])
def test_input_and_result_are_told_by_their_members(kind: str, member: str) -> None:
    line = EventEncoder().encode({"type": kind, "data": {member: Node("a")}})
    assert line is not None
    assert json.loads(line)["data"][member] == {"name": "a", "parent": None, "children": []}


def test_state_that_is_only_a_text_is_warned_of_once_for_each_type(caplog: pytest.LogCaptureFixture) -> None:
    encoder = EventEncoder("key")
    with caplog.at_level(logging.WARNING, "towerlog.sdk"):
        for _ in range(3):
            checkpoint(encoder, Refuses(), {"at": 1j}, City(name="Oslo"), float("nan"))
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(", of which")[0] for text in said] == [
        "run key: a checkpoint holds a Refuses",
        "run key: a checkpoint holds a complex",
    ]
