"""Reading of attributes by the table of names: what a span is, and what it says of models, tools and figures."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import re
from collections.abc import Iterable
from typing import Any

from towerlog.dialects import fields
from towerlog.dialects.base import MAX_ID_CHARS, MAX_LABEL_CHARS
from towerlog.dialects.otlp import names
from towerlog.dialects.otlp.masks import MAX_KNOWN_NAMES, masked_id, masked_name
from towerlog.dialects.otlp.names import Kind, Path
from towerlog.dialects.otlp.present import Paths, Present
from towerlog.dialects.otlp.spans import ERROR, SpanSource, ToldRecord, ToldSpan
from towerlog.dialects.otlp.values import opened
from towerlog.errors import Invalid
from towerlog.model.agent import plain_name

Attributes = dict[str, Any]
Told = ToldSpan | ToldRecord
_BEFORE_NAMES = ("invoke_agent ", "invoke_workflow ", "create_agent ")
_BEHIND_NAMES = (".run", ".workflow", ".agent", ".kickoff", "._execute_core")
_ID_IN_NAME = re.compile(r"[_-]?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
"""What some spans have behind the name of what they are of: with it each run would be another agent's."""
MAX_THREAD_CHARS = 8192
"""Of the name of a session: it becomes an id of MAX_ID_CHARS."""
MAX_SHOWN_CHARS = 4096
"""Of an object that was written as Python shows it, and not as JSON."""
MAX_NAMED_CHARS = 1000
"""Of a name that are looked through for secrets; it is cut after that."""
_RESPONSE_MEMBERS: tuple[tuple[str | int, ...], ...] = (
    ("id",),
    ("llm_output", "id"),  # LangChain's, and what it says of a stream
    ("generations", 0, 0, "message", "kwargs", "response_metadata", "id"),
)
"""Where the id of a response is in a text that has all of it."""
MIN_RESPONSE_CHARS = 16
MIN_RANDOM_CHARS = 12
MIN_RANDOM_LETTERS = 6
"""Of the id of a response that is looked for in all traces; of it without the word that it begins with (`msg_`,
`chatcmpl-`); and different ones of those."""
RATE_LIMITED = frozenset({"429", "rate_limit_exceeded", "RateLimitError", "rate_limit_error"})
_EXCEPTION = ("exception.type", "exception.message")
_CLASS = re.compile(r"([A-Za-z_][\w.]{0,199})(?:[(:]|$)")
"""A status message that begins with the class of an exception, as most libraries write it."""


def kind_of(attributes: Attributes, present: Present) -> Kind:
    """What a span is that has these attributes."""
    for name, kinds in present.kinds:
        value = attributes[name]
        if isinstance(value, str):
            found = kinds.get(value.strip('"').lower())  # MLflow writes JSON
            if found is not None:
                return found
    return present.kind


def first(attributes: Attributes, paths: Iterable[Path]) -> Any:
    """The first of these that says anything; None for none."""
    for path in paths:
        value = attributes.get(path[0])
        if value is None or value == "":
            continue
        if len(path) > 1:
            value = member_of(object_in(value), path[1:])
            if value is None or value == "":
                continue
        return value
    return None


def object_in(value: Any) -> Any:
    """What stands in a text that is JSON, or an object as Python shows it."""
    found = opened(value)
    if isinstance(found, str) and found.startswith("{'") and len(found) <= MAX_SHOWN_CHARS:
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return ast.literal_eval(found)
    return found


def member_of(value: Any, path: tuple[str | int, ...]) -> Any:
    """What stands so deep in an object; None for nothing."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        else:
            value = value[name] if isinstance(value, list) and isinstance(name, int) and name < len(value) else None
    return value


def label(attributes: Attributes, paths: Iterable[Path]) -> str | None:
    """The first of these that is text, as far as a name may be long; what is a secret in it masked."""
    value = first(attributes, paths)
    if isinstance(value, str) and value.startswith('"'):
        value = opened(value)
    return (named(value) or None) if isinstance(value, str) and value.strip() else None


def named(text: str) -> str:
    """A text as a name, on one line: what is a secret in it masked, and cut."""
    return _named(text) if len(text) <= MAX_LABEL_CHARS else _named.__wrapped__(text)


@functools.lru_cache(maxsize=MAX_KNOWN_NAMES)
def _named(text: str) -> str:
    return fields.truncated(masked_name(plain_name(text[:MAX_NAMED_CHARS])), MAX_LABEL_CHARS)


def text(attributes: Attributes, paths: Iterable[Path], longest: int) -> str | None:
    """The first of these as text; None for what is no text or longer."""
    value = first(attributes, paths)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return masked_id(value) if isinstance(value, str) and len(value) <= longest else None


def place_of(attributes: Attributes, where: Paths) -> str | None:
    """The first of these attributes that says anything."""
    for path in where:
        if attributes[path[0]] not in (None, ""):
            return path[0]
    return None


def thread_of(told: Told) -> str | None:
    """The thread that a span names. One that cannot be an id is made to fit, with a digest so that two stay two."""
    where = told.present.thread
    return _thread(text(told.attributes, where, MAX_THREAD_CHARS)) if where else None


def _thread(told: str | None) -> str | None:
    try:
        return fields.optional_id(told, "thread_id", MAX_ID_CHARS)
    except Invalid:
        told = told or ""
    fit = "".join("-" if letter == "/" or not letter.isprintable() else letter for letter in told)
    return f"{fit[: MAX_ID_CHARS - 9]}-{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def source_of(resource: Attributes, scope: dict[str, str]) -> SpanSource:
    """Who reports, with the name of the service where somebody has named it."""
    found = label(resource, ((names.SERVICE,),))
    is_named = found is not None and not found.startswith(names.UNKNOWN_SERVICE)
    scope = {name: fields.truncated(value, MAX_LABEL_CHARS) for name, value in scope.items()}
    return SpanSource(resource, scope, found if is_named else None)


def agent_of(span: ToldSpan, kind: Kind, *, begins_run: bool) -> str | None:
    """The agent of a span, as far as it tells; of one that begins a run also by what the span is called."""
    where = span.present.agent_name
    told = label(span.attributes, where) if where else None
    if told is not None or not begins_run:
        return told
    if kind not in (names.AGENT, names.CHAIN):
        return span.source.service
    name = span.name
    for before in _BEFORE_NAMES:
        name = name.removeprefix(before)
    for behind in _BEHIND_NAMES:
        name = name.removesuffix(behind)
    # What is nothing but an id stays what it is called.
    return named(_ID_IN_NAME.sub("", name).strip() or name.strip()) or None


def model_of(told: Told) -> str | None:
    """The model that has answered, else the one that was asked."""
    return label(told.attributes, told.present.model_name)


def provider_of(told: Told) -> str | None:
    """Who serves the model, as lists of prices call it; frameworks that call themselves that are none."""
    for path in told.present.provider:
        name = label(told.attributes, (path,))
        if name is not None:
            head = name.lower().partition(".")[0]
            found = names.PROVIDER_WORDS.get(head, head)
            if found is not None:
                return found
    return None


def response_id_of(told: Told) -> str | None:
    """The provider's id of a response, by which two spans of one call are known as such."""
    present, attributes = told.present, told.attributes
    named = text(attributes, present.response_id, 8192) if present.response_id else None
    if named is not None:
        return named
    for path in present.response_text:
        value = attributes[path[0]]
        if isinstance(value, str) and value.startswith("{") and '"id"' in value:
            whole = opened(value)
            for members in _RESPONSE_MEMBERS:
                found = member_of(whole, members)
                is_told = isinstance(found, str) and found
                # What stands deeper is only looked for where it can be nobody else's.
                if is_told and (len(members) == 1 or is_of_one_response(found)):
                    return masked_id(found[:8192])
    return None


def is_of_one_response(response_id: str) -> bool:
    """Whether no other response is likely to have this id: it is long, and neither a counter nor a placeholder."""
    own = response_id.rpartition("_")[2].partition("-")[2] or response_id.rpartition("_")[2]
    is_random = len(own) >= MIN_RANDOM_CHARS and len(set(own.lower())) >= MIN_RANDOM_LETTERS
    return is_random and len(response_id) >= MIN_RESPONSE_CHARS and not own.replace("-", "").isdigit()


def failed(span: ToldSpan) -> bool:
    """Whether what a span did has failed, by its status or by an attribute that says so."""
    if span.code == ERROR:
        told = _exception_of(span) or ""
        return names.NO_FAILURES.isdisjoint((told, told.rpartition(".")[2]))
    for name, words in span.present.failures:
        value = span.attributes[name]
        if value is not None and str(value).lower() in words:
            return True
    return False


def _exception_of(span: ToldSpan) -> str | None:
    """The class of the exception that a span has ended with, with its module where that is told."""
    found = _CLASS.match(span.message)
    # A message of one word may be a word of somebody.
    is_class = found is not None and (found.end(1) < len(span.message) or found[1] in names.NO_FAILURES)
    named: Any = found[1] if found is not None and is_class else None
    types = [(event.get("attributes") or {}).get("exception.type") for event in reversed(span.events)]
    types += [span.attributes.get("error.type")]
    told = [one for one in types if isinstance(one, str) and one]
    if named is None:
        return told[0] if told else None
    return next((one for one in told if one.endswith(f".{named}")), named)


def error_of(span: ToldSpan) -> str:
    """Why it failed, in one line."""
    if span.message:
        return fields.summary(span.message)
    for event in span.events:
        about = event.get("attributes") or {}
        told = [str(about[name]) for name in _EXCEPTION if about.get(name)]
        if told:
            return fields.summary(": ".join(told))
    for name in ("error.message", "error", "langfuse.observation.status_message", "error.type"):
        value = span.attributes.get(name)
        if isinstance(value, str) and value:
            return fields.summary(value)
    return "failed"


def call_name(span: ToldSpan) -> str:
    """What a model call is called that has failed."""
    told = f"{span.attributes.get('error.type', '')} {span.attributes.get('http.response.status_code', '')}".split()
    is_limited = not RATE_LIMITED.isdisjoint(told) or "429" in span.message
    return "inference_rate_limited" if is_limited else "inference_error"
