"""The error family's law: codes are what clients write into their programs, so they are unique and never change."""

from collections.abc import Iterator

import pytest

from towerlog import errors
from towerlog.errors import Invalid, NotFound, Overloaded, TowerlogError

# A code in this table is a promise: add lines, change none.
CODES = {
    "auth.csrf": False,
    "already_claimed": False,
    "budget.exceeded": False,
    "conflict": False,
    "link_used": False,
    "link_expired": False,
    "damaged": False,
    "error": False,
    "forbidden": False,
    "id_reused": False,
    "idempotency_mismatch": False,
    "in_progress": True,
    "internal": False,
    "lease_lost": False,
    "malformed": False,
    "not_found": False,
    "method_not_allowed": False,
    "not_waiting": False,
    "awaits_approval": False,
    "question_closed": False,
    "too_many_questions": False,
    "out_of_memory": True,
    "overloaded": True,
    "rate_limited": True,
    "run_ended": False,
    "run_not_active": False,
    "storage_failed": True,
    "disk.full": True,
    "stopped": True,
    "store_moved": True,
    "thread_busy": False,
    "too_large": False,
    "unauthenticated": False,
    "unknown_base": False,
    "validation_failed": False,
}
"""Code → whether the same request may succeed later as it stands."""


def family(parent: type[TowerlogError] = TowerlogError) -> Iterator[type[TowerlogError]]:
    """Every class of the family that `errors` defines."""
    if parent.__module__ == errors.__name__:
        yield parent
    for child in parent.__subclasses__():
        yield from family(child)


def make(kind: type[TowerlogError]) -> TowerlogError:
    """One error with its default message."""
    return kind("run") if issubclass(kind, NotFound) else kind()


def test_the_codes_are_the_published_ones() -> None:
    assert {kind.code: kind.retryable for kind in family()} == CODES


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in family()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", tuple(family()), ids=lambda kind: kind.__name__)
def test_every_error_says_what_happened_in_a_sentence(kind: type[TowerlogError]) -> None:
    message = make(kind).message
    assert message == str(make(kind))
    assert message[0].isupper()
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("kind", tuple(family()), ids=lambda kind: kind.__name__)
def test_every_error_takes_the_callers_words(kind: type[TowerlogError]) -> None:
    error = kind("run", "Said by the caller.") if issubclass(kind, NotFound) else kind("Said by the caller.")
    assert error.message == "Said by the caller."


def test_a_wrong_field_is_named() -> None:
    error = Invalid("must be at most 120 characters", field="events.3.data.thread_id")
    assert error.field == "events.3.data.thread_id"
    assert error.details == {"events.3.data.thread_id": "must be at most 120 characters"}


def test_several_wrong_fields_are_all_named() -> None:
    details = {"a": "is missing", "b": "must be a number"}
    error = Invalid("Two fields are wrong.", field="a", details=details)
    assert error.details == details
    details.clear()
    assert error.details, "the error keeps its own copy"


def test_an_error_without_a_field_has_no_details() -> None:
    assert Invalid().field is None
    assert Invalid().details == {}


def test_what_was_not_found_is_named() -> None:
    error = NotFound("checkpoint")
    assert error.kind == "checkpoint"
    assert error.message == "There is no such checkpoint."


def test_a_retry_says_when() -> None:
    assert Overloaded(retry_after=3).retry_after == 3
    assert Overloaded().retry_after is None


def test_one_except_catches_the_family() -> None:
    for kind in family():
        with pytest.raises(TowerlogError):
            raise make(kind)
