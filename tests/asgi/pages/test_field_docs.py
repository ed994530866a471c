"""What stands below a field is found, of base classes too; what stands elsewhere is not taken for it."""

from __future__ import annotations

import msgspec

from towerlog.asgi.pages.field_docs import field_docs
from towerlog.asgi.pages.schemas import Schemas


class Base(msgspec.Struct):
    """A base."""

    first: int
    """The first
    of all."""
    second: int = 0


class Child(Base):
    """A child."""

    """Not of a field."""
    third: int | None = None
    """The third."""


def test_a_field_is_described_by_the_text_below_it() -> None:
    assert field_docs(Child) == {"first": "The first\nof all.", "third": "The third."}
    assert field_docs(Base) == {"first": "The first\nof all."}


def test_the_text_goes_before_the_words_of_the_type() -> None:
    found = Schemas([Child]).components["Child"]["properties"]
    assert found["third"] == {"type": ["integer", "null"], "description": "The third."}
    assert "description" not in found["second"]


def test_where_there_is_no_source_there_are_no_texts() -> None:
    assert field_docs(msgspec.defstruct("Made", [("x", int)])) == {}
