"""Reading of attributes by the table of names: what a span is, and what it says of models, tools and figures."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from towerlog.dialects import fields
from towerlog.dialects.base import MAX_ID_CHARS, MAX_LABEL_CHARS
from towerlog.dialects.otlp import names
from towerlog.dialects.otlp.masks import MAX_KNOWN_NAMES, masked_id, masked_name
from towerlog.dialects.otlp.names import Kind, Path
from towerlog.dialects.otlp.present import Paths, Present
from towerlog.dialects.otlp.spans import ERROR, SpanSource, ToldRecord, ToldSpan
from towerlog.dialects.otlp.values import opened
from towerlog.dialects.usage_json import NOTHING, FoundUsage, read_usage
from towerlog.errors import Invalid
from towerlog.model.agent import plain_name
from towerlog.model.usage import MAX_EVENT_DOLLARS, MAX_NUMBER, NO_USAGE, Usage, parse_dollars
from towerlog.model.usage_parts import COUNTED_PARTS, NO_PARTS, UsageParts, known_parts, tier_of

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
            value = _member(_object_in(value), path[1:])
            if value is None or value == "":
                continue
        return value
    return None


def _object_in(value: Any) -> Any:
    """What stands in a text that is JSON, or an object as Python shows it."""
    found = opened(value)
    if isinstance(found, str) and found.startswith("{'") and len(found) <= MAX_SHOWN_CHARS:
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return ast.literal_eval(found)
    return found


def _member(value: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
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
            found = _member(opened(value), ("id",))
            if isinstance(found, str) and found:
                return masked_id(found[:8192])
    return None


def usage_of(told: Told) -> Usage:
    """What a model call has used, in disjoint buckets: by attributes of their own, or by an object of any form."""
    if not told.present.tells_figures():
        return NO_USAGE
    usage, found = _spread(told), _object_of(told).usage
    if usage == NO_USAGE:
        usage = msgspec.structs.replace(found, cost_nanos=None)
    elif _is_finer(found, usage):
        total = found.total_tokens if usage.total_tokens is None else usage.total_tokens
        usage = msgspec.structs.replace(found, total_tokens=total, cost_nanos=None)
    cost = cost_of(told, usage)
    return msgspec.structs.replace(usage, cost_nanos=found.cost_nanos if cost is None else cost)


def _spread(told: Told) -> Usage:
    """What attributes of their own tell.

    Conventions count cached tokens as input and reasoning as output. Where a sum cannot hold its part, it does not.
    """
    present, attributes = told.present, told.attributes
    sent, written = _count(attributes, present.input_tokens), _count(attributes, present.output_tokens)
    cached, kept = _count(attributes, present.cached_tokens), _count(attributes, present.cache_write_tokens)
    thought, total = _count(attributes, present.reasoning_tokens), _count(attributes, present.total_tokens)
    if (sent, written, cached, kept, thought, total) == (None,) * 6:
        return NO_USAGE
    within = (cached, kept) if _is_inclusive(told) else ()
    # Gemini's thoughts are beside its output, which the total shows.
    is_beside = thought is not None and total == (sent or 0) + (written or 0) + thought
    seen = written if is_beside else _less(written, thought)
    return Usage(_less(sent, *within), cached, kept, seen, thought, total)


def _object_of(told: Told) -> FoundUsage:
    """What the first object of usage says that can be read."""
    for path in told.present.usage_objects:
        value = _object_in(told.attributes[path[0]])
        if isinstance(value, dict):
            found = read_usage(value, path[0], [], "as usual")
            if found.usage != NO_USAGE:
                return found
    return NOTHING


def _is_finer(found: Usage, usage: Usage) -> bool:
    """Whether it tells the same tokens, and more of what they were."""
    is_bare = usage.cached_input_tokens is usage.cache_write_tokens is usage.reasoning_tokens is None
    sums = (found.all_input_tokens(), found.all_output_tokens())
    return is_bare and sums == (usage.input_tokens, usage.output_tokens)


def parts_of(told: Told) -> UsageParts | None:
    """What the price of a model call goes by beside its usage; None for nothing."""
    present, attributes = told.present, told.attributes
    if not present.parts and not present.tier and not present.usage_objects:
        return None
    found: dict[str, int] = {}
    for attribute, part, *members in present.parts:
        tokens = _count(attributes, ((attribute, *members),)) if part not in found else None
        if tokens is not None:
            found[part] = tokens
    tier = tier_of(label(attributes, present.tier)) if present.tier else None
    terms = _object_of(told).terms
    found |= {part: terms[part] for part in COUNTED_PARTS if part in terms and part not in found}
    return known_parts(msgspec.structs.replace(NO_PARTS, tier=tier or tier_of(terms.get("service_tier")), **found))


def _is_inclusive(told: Told) -> bool:
    """Whether the input counts what was read from a cache and written to it."""
    where = told.present.input_tokens
    if not where or where[-1] != (names.EXCLUSIVE_INPUT,):
        return True
    return first(told.attributes, where[:-1]) is not None


def _less(whole: int | None, *parts: int | None) -> int | None:
    rest = 0 if whole is None else whole - sum(part or 0 for part in parts)
    return whole if whole is None or rest < 0 else rest


def _count(attributes: Attributes, paths: Iterable[Path]) -> int | None:
    """A number of tokens. What is none is not counted: it stands in its attribute as it was sent."""
    for path in paths:
        value = first(attributes, (path,))
        if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER:
            return value
    return None


def cost_of(told: Told, usage: Usage) -> int | None:
    """Nano-dollars of one call of this usage: as they are told, else the sum of parts where none is missing."""
    for path in told.present.cost:
        cost = _nanos(first(told.attributes, (path,)))
        if cost is not None:
            return cost
    needed = _sides_of(usage)
    for parts in _costs_in(told):
        if needed <= parts.keys():
            return sum(parts.values())
    return None


def unused_costs(told: Told) -> Attributes:
    """The attributes that tell a part of what a call cost, of one whose cost nobody knows."""
    said = {path[0] for path in (*told.present.cost, *told.present.cost_parts)}
    return {name: value for name, value in told.attributes.items() if name in said and value not in (None, "")}


def _sides_of(usage: Usage) -> set[str]:
    """Which costs make up that of a call: of the input, of the output."""
    tokens = {"input": usage.all_input_tokens(), "output": usage.all_output_tokens()}
    return {side for side, count in tokens.items() if count} or {*tokens}


def _costs_in(told: Told) -> list[dict[str, int]]:
    """Nano-dollars of the input and of the output, by each of those who tell such parts."""
    found: dict[str, dict[str, int]] = {}
    for attribute, side, whose, *members in told.present.cost_parts:
        cost = _nanos(first(told.attributes, ((attribute, *members),)))
        if cost is not None:
            found.setdefault(whose, {})[side] = cost
    details = _object_in(told.attributes.get(names.COST_DETAILS))
    if isinstance(details, dict):
        parts = found.setdefault(names.COST_DETAILS, {})
        for name, value in details.items():
            cost, side = _nanos(value), "output" if name.startswith(names.OF_OUTPUT) else "input"
            if cost is not None:
                parts[side] = parts.get(side, 0) + cost
    return [*found.values()]


def _nanos(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return parse_dollars(str(value)[:100], MAX_EVENT_DOLLARS)
    except ValueError:
        return None


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
