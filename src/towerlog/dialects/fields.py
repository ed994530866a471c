"""Reading JSON of a request: typed decoding whose errors name the field, and the checks that all dialects share.

A part of a body that nobody looks into stays bytes (`msgspec.Raw`), so that it is given back as it was sent.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

import msgspec

from towerlog.dialects.base import DEFAULT_PAGE, MAX_LABEL_CHARS, MAX_PAGE, Call
from towerlog.dialects.members import in_json_words, kind_of, make_whole, names_at, read_singly
from towerlog.dialects.structure import MAX_MEMBERS, check_depth, check_length
from towerlog.errors import Invalid, Malformed, NotFound, TooLarge, TowerlogError, without_trace
from towerlog.model.agent import plain_name
from towerlog.model.event import FieldWarning, Refusal
from towerlog.model.facts import NO_FACTS, Effects, Facts
from towerlog.model.times import parse_ms
from towerlog.model.usage import MAX_DOLLARS, MAX_NUMBER, parse_dollars

T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""A number of tokens, milliseconds, bytes."""
Duration = Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""Milliseconds or seconds that may have a fraction."""
JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
"""An object that stays JSON text; `one_line` checks that it is an object."""
Warnings = list[FieldWarning]
"""What was found in one event; a function that reads a detail adds what it could not use."""
NOTHING_STRICT: frozenset[str] = frozenset()
NULL = msgspec.Raw(b"null")
MAX_REASON_CHARS = 300
"""What is wrong with a field, as far as it is told."""
MAX_SHOWN_CHARS = 100
"""Characters of an unknown name that its refusal repeats."""
MAX_LABELS = 64
MAX_SEQ = 2**62
"""More events than any run can have; larger cursors are cut to it, since a store has 64-bit integers."""
_RAW = msgspec.json.Decoder(msgspec.Raw)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
EMPTY_OBJECT = b"{}"

_AT = re.compile(r"^(?P<what>.*?) - at `(?P<where>(?:key in )?\$[^`]*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]+)`")
_DOTS = (".", "..")
_TRUTH = {"true": True, "false": False}
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UUID = re.compile(r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$")


class TooDeep(Invalid):
    """The JSON is nested too deeply to be read."""


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw, prefix: str = "") -> T:
    """The decoded body. Raises `Invalid` naming the field below `prefix`, `Malformed` for what is not JSON."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(str(error), prefix, decoder.type) from None
    except UnicodeDecodeError:
        raise Malformed("The body is not valid UTF-8.", field=prefix or None) from None
    except msgspec.DecodeError as error:
        raise Malformed(f"The body is not valid JSON: {error}", field=prefix or None) from None
    # msgspec's own limit of nesting, which is far above ours.
    except RecursionError:
        raise TooDeep("Nested too deeply.", field=prefix or "body") from None


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """As `decode`, but a whole number may be written as a float or as a string of digits, as in an event."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode(decoder, with_whole_numbers(decoder.type, body))


def with_whole_numbers(type_: Any, body: bytes) -> bytes:
    """The body with each whole number as its member wants it. Raises like `decode`."""
    members = members_of(body)
    return msgspec.json.encode(members) if make_whole(type_, members) else body


def read(
    decoder: msgspec.json.Decoder[T],
    data: bytes | msgspec.Raw,
    where: str,
    warnings: Warnings,
    strict: frozenset[str] = NOTHING_STRICT,
) -> T:
    """The decoded object; a detail that does not fit has its default, and `warnings` names it below `where`.

    Members without a default and those in `strict` are no details: they raise like those of `decode`.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode(decoder, data, where)
    try:
        made, wrong = read_singly(decoder, data, strict)
    except msgspec.ValidationError as error:
        raise invalid(str(error), where) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The first pass ended at a member that does not fit, before it came to what is no JSON.
        decode(_RAW, data, where)
        raise
    for path, why in wrong:
        field = f"{where}.{path}" if where else path
        unused(warnings, field, invalid(why, field).details.get(field, why))
    return made


def members_of(text: bytes | msgspec.Raw, field: str = "") -> dict[str, msgspec.Raw]:
    """The members of an object, each as it was sent. Raises like `decode`, and Invalid for more than MAX_MEMBERS."""
    whole = bytes(text)
    check_length(whole, field or "body", MAX_MEMBERS, "members")
    return decode(_MEMBERS, whole, field)


def unused(warnings: Warnings, field: str, why: str) -> None:
    """Notes that a detail could not be used, and why."""
    warnings.append(FieldWarning(field=field, message=f"{field}: {why}; it is kept as it was sent and not used"))


def invalid(message: str, prefix: str = "", type_: Any = None) -> Invalid:
    """An `Invalid` from msgspec's message: ``Expected `int`, got `str` - at `$.a[0].b` `` names the field `a.0.b`.

    `type_` is the body's: of a member that is unknown the message says which there are.
    """
    found = _AT.match(message)
    what, where = (found["what"], found["where"]) if found else (message, "$")
    what = in_json_words(what)
    # It may repeat a value of the sender's that is as long as a body.
    what = what if len(what) <= MAX_REASON_CHARS else f"{what[:MAX_REASON_CHARS]} …"
    path = where.removeprefix("key in ").lstrip("$").replace("[...]", "").replace("[", ".").replace("]", "").strip(".")
    missing = _MISSING.match(what)
    if missing:
        path = f"{path}.{missing['name']}".strip(".")
        what = "is required"
    unknown = _UNKNOWN.match(what)
    if unknown:
        what = f"is not a member of {path or 'this body'}; it takes {', '.join(names_at(type_, path)) or 'none'}"
        path = f"{path}.{unknown['name'][:MAX_SHOWN_CHARS]}".strip(".")
    field = ".".join(part for part in (prefix, path) if part) or "body"
    return Invalid(f"{field}: {what}", details={field: what}, field=field)


def invalid_field(field: str, why: str) -> Invalid:
    """An `Invalid` for one field."""
    return Invalid(f"{field}: {why}", field=field, details={field: why})


def text_id(value: str | None, field: str, longest: int = 200, *, in_urls: bool = True) -> str:
    """A required id: 1 to `longest` characters of any script, no controls; no `/` unless no URL's path has the id."""
    found = optional_id(value, field, longest, in_urls=in_urls)
    if found is None:
        raise invalid_field(field, "is required")
    return found


def optional_id(value: str | None, field: str, longest: int = 200, *, in_urls: bool = True) -> str | None:
    """An optional id: absent, null and the empty string mean the same. No URL can reach `.` and `..`."""
    if not value:
        return None
    if len(value) > longest:
        raise invalid_field(field, f"is longer than {longest} characters")
    # `isprintable` is fast and true for nearly all ids; only what fails it is searched for control characters.
    if (in_urls and "/" in value) or (not value.isprintable() and _CONTROL.search(value)):
        raise invalid_field(field, "must not hold control characters" + (" or '/'" if in_urls else ""))
    if in_urls and value in _DOTS:
        raise invalid_field(field, "must not be '.' or '..', which no URL can reach")
    return value


IDLE = "thread_idle"
RATE_LIMITED = "thread_rate_limited"
HEARTBEAT = "heartbeat"
_EFFECTS_OF = {HEARTBEAT: Effects(beat=True), IDLE: Effects(idle=True), RATE_LIMITED: Effects(rate_limited=True)}
"""Names that mean the same in every dialect in which a sender may name its events as it likes."""


MAX_KNOWN_NAMES = 1024
"""Names of events that are remembered. Every dialect refuses a name of more than MAX_LABEL_CHARS characters first, so
that together they are at most about a mebibyte."""


# Senders have few names for their events. Equal ones share their facts, which are then encoded once for several.
@functools.lru_cache(maxsize=MAX_KNOWN_NAMES)
def facts_named(name: str) -> Facts:
    """The facts of an event of which only its sender's own name is known, of at most MAX_LABEL_CHARS characters."""
    return Facts(name=name, effects=_EFFECTS_OF.get(name))


MAX_SPAN_CHARS = 8192
"""Of what both ends of a step are called; longer ones are not brought together."""


def step_facts(span_id: str | None, name: str | None, phase: str | None, duration_ms: float | None) -> Facts:
    """The facts of a step, or of one of its ends. Both ends are told to be one by the id of their span, or, where they
    tell none, by the step's name."""
    took = None if duration_ms is None else round(duration_ms)
    both, step = span_id or name, truncated(name, MAX_LABEL_CHARS) if name else None
    if not both or len(both) > MAX_SPAN_CHARS or phase not in ("start", "end"):
        return _step_named(step) if took is None else Facts(step=step, duration_ms=took)
    step = None if both == name else step
    return Facts(begins=both, step=step) if phase == "start" else Facts(ends=both, step=step, duration_ms=took)


# As with `facts_named`: equal ones are encoded once for several.
@functools.lru_cache(maxsize=MAX_KNOWN_NAMES)
def _step_named(step: str | None) -> Facts:
    return NO_FACTS if step is None else Facts(step=step)


def bounded_text(value: str | None, field: str, longest: int = 200) -> str | None:
    """Free text of bounded length."""
    if value and len(value) > longest:
        raise invalid_field(field, f"is longer than {longest} characters")
    return value or None


def given_name(value: str, field: str, longest: int = MAX_LABEL_CHARS) -> str:
    """What people call a thing of theirs: one line of bounded length, not blank."""
    text = bounded_text(value.strip(), field, longest)
    if text is None or not text.isprintable():
        raise invalid_field(field, "must not be blank, and printable")
    return text


def agent_name(value: str | None, field: str, warnings: Warnings) -> str | None:
    """An agent's name: one line of bounded length, which may have a `/`; None for none."""
    named = bounded_text(value, field, MAX_LABEL_CHARS)
    fit = named if named is None else plain_name(named)
    if fit != named:
        message = f"{field}: control characters of a name are taken for blanks, what nobody sees is left out"
        warnings.append(FieldWarning(field=field, message=message))
    return fit or None


def path_id(value: str, kind: str) -> str:
    """An id in a path. Raises NotFound for one that cannot exist."""
    try:
        return text_id(value, kind)
    except Invalid:
        raise NotFound(kind) from None


def path_uuid(value: str, kind: str) -> str:
    """A UUID in a path, in its lower-case form. Raises NotFound for anything else."""
    if not _UUID.fullmatch(value):
        raise NotFound(kind)
    return value.lower()


def time_ms_of(value: str | None, field: str) -> int | None:
    """Milliseconds of an optional ISO 8601 time."""
    if not value:
        return None
    try:
        return parse_ms(value)
    except ValueError as error:
        raise invalid_field(field, str(error)) from None


def cost_nanos_of(raw: msgspec.Raw, field: str, largest: int = MAX_DOLLARS) -> int | None:
    """Nano-dollars of a JSON number, from its text; None for null. `largest`: in dollars."""
    if raw is NULL:
        return None
    # From the text: as a float, 0.1 + 0.2 dollars would not be 0.3.
    text = bytes(raw).decode("ascii", "replace").strip()
    if text == "null":
        return None
    try:
        return parse_dollars(text, largest)
    except ValueError as error:
        raise invalid_field(field, str(error)) from None


def one_line(raw: bytes | msgspec.Raw, field: str, settings_depth: int = 128, largest: int = 4 << 20) -> bytes:
    """JSON text of an object, checked for size and depth, on one line; the text itself is left as it was sent.

    Most events have at most one object in them and no array: those need no count of their brackets.
    """
    text = bytes(raw)
    if text[:1] != b"{" or len(text) > largest:
        object_text(text, field, largest)
    last = text.rfind(b"{")
    if (last and text.rfind(b"{", 1, last) > 0) or 91 in text or settings_depth < 2:
        check_depth(text, field, settings_depth)
    return flat(text)


def object_text(raw: bytes | msgspec.Raw, field: str, largest: int) -> bytes:
    """JSON text of an object, checked for its size."""
    text = bytes(raw)
    if text[:1] != b"{":
        raise invalid_field(field, f"Expected `object`, got {kind_of(text)}")
    if len(text) > largest:
        raise TooLarge(f"{field}: is larger than {largest} bytes", field=field)
    return text


def flat(text: bytes) -> bytes:
    """JSON text without line ends, which frames of a stream cannot hold. `text` must be checked for its depth.

    In JSON a line end can only be between two tokens, so removing it changes no value.
    """
    # By number: for a single byte that is several times as fast as looking for a text of one byte.
    if 10 in text or 13 in text:
        return msgspec.json.format(text, indent=-1)
    return text


def splice(text: bytes, **fields: str | int | bool | None) -> bytes:
    """A JSON object's text with more members in front. Members that it already has come later and take precedence."""
    head = msgspec.json.encode(fields)[1:-1]
    rest = text[1:].lstrip()
    return b"{" + head + (b"" if rest.startswith(b"}") else b",") + rest


def query_int(query: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    """An integer of the query string between two bounds, else `Invalid`."""
    text = query.get(name)
    if text is None or text == "":
        return default
    # `int` also takes spaces, underscores and digits of other scripts.
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text):
        raise invalid_field(name, "must be an integer")
    value = int(text)
    if not lowest <= value <= highest:
        raise invalid_field(name, f"must be between {lowest} and {highest}")
    return value


def query_truth(query: Mapping[str, str], name: str, default: T) -> bool | T:
    """`true` or `false`, in any case, since Python writes `True`; `default` where there is none. Raises Invalid."""
    text = query.get(name)
    if not text:
        return default
    truth = _TRUTH.get(text.lower())
    if truth is None:
        raise invalid_field(name, "must be true or false")
    return truth


def page_limit(call: Call) -> int:
    """`limit` of a list: how many rows, else `Invalid`."""
    return query_int(call.query, "limit", DEFAULT_PAGE, 1, MAX_PAGE)


def percent_decode(segment: str) -> str:
    """A path segment's text. Bytes that are not UTF-8 become replacement characters, which no id contains."""
    return unquote(segment, errors="replace")


def truncated(text: str, longest: int) -> str:
    """At most `longest` characters; a cut text ends in `…`."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def summary(text: str, longest: int = 500) -> str:
    """The beginning of a text on one line, for rows and lists. The event keeps the whole text."""
    return truncated(" ".join(text[: 4 * longest].split()), longest)


def below(place: str, error: TowerlogError) -> TowerlogError:
    """An error of one item in the words of the whole request: `data.name` becomes `events.3.data.name`.

    So that the usual item, in which nothing is wrong, has no names of fields made for it.
    """
    if error.field is None:
        return error
    named = error.field

    def placed(words: str) -> str:
        return f"{place}.{words}" if words.startswith(named) else words

    details = {placed(name): placed(why) for name, why in error.details.items()}
    return type(error)(placed(error.message), field=placed(named), details=details)


def refusal(error: TowerlogError) -> Refusal:
    """An error as the result of one item of a batch; it loses its traceback, which may hold the body."""
    return Refusal(without_trace(error).code, error.message, error.field)


def decode_any(text: bytes) -> Any:
    """A stored body as Python values, for encoders that have to look inside; `{}` if it cannot be decoded."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
