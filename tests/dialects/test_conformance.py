"""What holds for every dialect: none may leave out an error, a status, a type of event, or a scope."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections import Counter
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tests.dialects.calls import call, event
from tests.support.factories import run_row
from tests.support.tables import table
from towerlog import errors
from towerlog.config import Settings
from towerlog.dialects import DIALECTS
from towerlog.dialects.base import Dialect, Endpoint
from towerlog.errors import NotFound, TowerlogError
from towerlog.model.event import Event, EventType
from towerlog.model.facts import CheckpointFacts, Effects, Facts, LaneFacts
from towerlog.model.principal import Scope
from towerlog.model.run import TERMINAL, Status
from towerlog.model.usage import Usage

NAMES = ["checkpoints", "steps", "activity", "runs", "lanes", "otlp"]
ENDPOINTS = [(dialect, one) for dialect in DIALECTS for one in dialect.endpoints]
STREAMS = {one.stream.name: one.stream for _, one in ENDPOINTS if one.stream is not None}
UUID_TEXT = "0189d3f0-0000-7000-8000-000000000007"
PARAMETER = re.compile(r"\{(\w+)\}")

ERRORS: list[type[TowerlogError]] = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TowerlogError)
]
STATUSES: dict[type[TowerlogError], set[int]] = {
    errors.BudgetExceeded: {402},
    errors.IdReused: {409, 422},
    errors.Malformed: {400, 422},
    errors.Invalid: {400, 422},
    errors.Unauthenticated: {401},
    errors.Forbidden: {403},
    errors.NotFound: {404},
    errors.MethodNotAllowed: {405},
    errors.Conflict: {409},
    errors.LinkExpired: {410},
    errors.IdempotencyMismatch: {422},
    errors.TooLarge: {413},
    errors.RateLimited: {429},
    errors.Overloaded: {503},
    errors.StorageFailed: {503},
    errors.Internal: {500},
    errors.TowerlogError: {500},
}
"""A subclass that is not named answers as its parent does."""


def dialect_id(value: Any) -> str | None:
    """The name of a dialect, an endpoint or an error, for a test's id."""
    if isinstance(value, Dialect | Endpoint):
        return value.name
    return value.__name__ if isinstance(value, type) else None


def example(kind: type[TowerlogError]) -> TowerlogError:
    """An error of this class as the engine would raise it."""
    return NotFound("run") if kind is NotFound else kind()


def expected(kind: type[TowerlogError]) -> set[int]:
    """The statuses that an error may have on any wire."""
    return next(STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES)


def module_of(name: str) -> ModuleType:
    """The module with a dialect's table: one file, or one file of its package."""
    package = import_module(f"towerlog.dialects.{name}")
    return package if hasattr(package, "DIALECT") else import_module(f"towerlog.dialects.{name}.dialect")


def words_of(dialect: Dialect) -> tuple[dict[Status, str], dict[str, Status]]:
    """A dialect's two word tables."""
    module = module_of(dialect.name)
    return module.STATUS_WORDS, module.STATUS_OF


def test_the_registry_holds_the_six() -> None:
    assert [dialect.name for dialect in DIALECTS] == NAMES
    assert all(module_of(name).DIALECT in DIALECTS for name in NAMES)


@pytest.mark.parametrize("dialect", DIALECTS, ids=dialect_id)
@table("kind", ERRORS, ids=dialect_id)
def test_every_error_can_be_explained(dialect, kind) -> None:
    error = example(kind)
    reply = dialect.explain(error, "trace-1")
    assert reply.status in expected(kind), reply
    body = json.loads(reply.body)
    assert isinstance(body, dict)
    # What a seed words itself (401 and 429) stands in its own words.
    assert error.message in json.dumps(body) or reply.status in {401, 429}, "the reply does not say what is wrong"
    named = [name.lower() for name, _ in reply.headers]
    assert (b"retry-after" in named) is error.retryable
    assert len(named) == len(set(named))


@pytest.mark.parametrize("dialect", DIALECTS, ids=dialect_id)
def test_every_dialect_names_the_field(dialect) -> None:
    error = errors.Invalid("events.3.type: is unknown", field="events.3.type", details={"events.3.type": "is unknown"})
    assert b"events.3.type" in dialect.explain(error, "t").body


@pytest.mark.parametrize("dialect", DIALECTS, ids=dialect_id)
def test_a_wait_that_is_known_is_told(dialect) -> None:
    for kind in (errors.RateLimited, errors.Overloaded):
        headers = {name.lower(): value for name, value in dialect.explain(kind(retry_after=17), "t").headers}
        assert headers[b"retry-after"] == b"17"


@pytest.mark.parametrize("dialect", DIALECTS, ids=dialect_id)
@table("status", list(Status))
def test_every_status_has_a_word_and_every_word_a_status(dialect, status) -> None:
    words, status_of = words_of(dialect)
    assert words[status]
    again = status_of[words[status]]
    # The activity dialect has words for model calls alone, and a call that went well may be of any run.
    if dialect.name != "activity":
        assert (again in TERMINAL) is (status in TERMINAL)


@pytest.mark.parametrize("dialect", DIALECTS, ids=dialect_id)
def test_no_table_has_a_word_for_nothing(dialect) -> None:
    words, status_of = words_of(dialect)
    assert set(words) == set(Status)
    assert set(status_of.values()) <= set(Status)


EFFECTS = Effects(model="m", lane=LaneFacts("w", 1, 1, "p"), checkpoint=CheckpointFacts(1, "in_progress"))
SPENT = Usage(input_tokens=1, output_tokens=2, cost_nanos=3)
FACTS = [
    Facts(),
    Facts(
        name="a næme",
        tool="t\u2028ö\u0085",
        tool_call_id="c",
        success=False,
        duration_ms=1,
        error="e",
        question="q",
        spent=Usage(1, output_tokens=2, cost_nanos=3),
        effects=EFFECTS,
    ),
]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
@table("source", NAMES)
@table("type_", list(EventType))
def test_every_event_has_a_frame_or_no_place(stream, source, type_) -> None:
    for facts in FACTS:
        data = '{"content":"x\\ny \u00c5\u0085\u2028 \U0001f600","type":"command_start"}'.encode()
        one: Event = event(type_, data, facts, dialect=source)
        found = stream.frame(one, "e1", run_row())
        if found is None:
            assert stream.name == "activity", "a run's stream leaves nothing out"
            continue
        assert found.endswith(b"\n\n")
        for one_frame in found[:-2].split(b"\n\n"):
            lines = one_frame.split(b"\n")
            assert [line.split(b": ")[0] for line in lines] == [b"data", b"id"][: 1 if stream.name == "agui" else 2]
            assert isinstance(json.loads(lines[0].removeprefix(b"data: ")), dict)
        assert found.isascii(), "clients guess the charset of a stream, and some take U+0085 for a line end"


def test_all_streams_are_there() -> None:
    assert set(STREAMS) == {"runs", "activity", "agui"}
    for stream in STREAMS.values():
        assert stream.prologue.endswith(b"\n")
        assert b"\n\n" not in stream.prologue, "an empty line is an event to some readers"
        assert not stream.closing or stream.closing.endswith(b"\n\n")


def pattern(path: str) -> re.Pattern[str]:
    """What a path of the table matches; a parameter is anything inside one segment."""
    return re.compile("[^/]+".join(re.escape(piece) for piece in PARAMETER.split(path)[::2]))


@pytest.mark.parametrize(("dialect", "one"), ENDPOINTS, ids=dialect_id)
def test_a_request_means_one_endpoint(dialect, one) -> None:
    path = PARAMETER.sub(UUID_TEXT, one.path)
    matching = [
        other.name for _, other in ENDPOINTS if other.method == one.method and pattern(other.path).fullmatch(path)
    ]
    assert matching == [one.name]


def test_an_action_is_not_an_id() -> None:
    cancel, get = f"/v1/runs/{UUID_TEXT}:cancel", f"/v1/runs/{UUID_TEXT}"
    paths = {one.name: one.path for _, one in ENDPOINTS}
    assert pattern(paths["runs.cancel"]).fullmatch(cancel)
    assert not pattern(paths["runs.cancel"]).fullmatch(get)
    runs_get = next(one for _, one in ENDPOINTS if one.name == "runs.get")
    with pytest.raises(NotFound):
        runs_get.decode(call(path={"run_id": f"{UUID_TEXT}:cancel"}))


def test_endpoints_have_names_of_their_own() -> None:
    counted = Counter(one.name for _, one in ENDPOINTS)
    assert [name for name, times in counted.items() if times > 1] == []


def any_json(kind: type) -> dict[str, Any]:
    """The schema of a body that passes through untouched."""
    assert kind is msgspec.Raw
    return {}


@pytest.mark.parametrize(("dialect", "one"), ENDPOINTS, ids=dialect_id)
def test_every_endpoint_is_whole(dialect, one) -> None:
    assert one.scopes - {Scope.ADMIN}, "no scope but admin"
    assert one.scopes <= set(Scope)
    assert one.method in {"GET", "POST", "PATCH", "DELETE"}
    assert one.summary
    assert not one.summary.endswith("."), "a summary is a title, not a sentence"
    assert one.limited <= (dialect.limit is not None)
    if one.method == "POST":
        assert one.request is not None, "the document has no body to show"
    documented = [shape for shape in (one.request, one.reply, one.query, *one.frames) if shape is not None]
    assert documented
    shown, _ = msgspec.json.schema_components(documented, schema_hook=any_json, ref_template="#/{name}")
    assert all(shown)


@pytest.mark.parametrize("dialect", DIALECTS, ids=dialect_id)
def test_a_limit_names_a_setting(dialect) -> None:
    if dialect.limit is None:
        assert not any(one.limited for one in dialect.endpoints)
        return
    assert dialect.limit.setting in {one.name for one in dataclasses.fields(Settings)}
    assert dialect.limit.per in {"key", "ip"}
    assert any(one.limited for one in dialect.endpoints)
