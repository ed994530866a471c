"""What a dialect is made of: a table of endpoints, each with a pure decoder and a pure encoder.

`asgi/gate.py` serves any dialect from this table alone. A dialect does no I/O, sees no clock and no request object:
`Call` is all it gets. The native API and the operator's pages declare their endpoints in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal, Protocol

import msgspec

from towerlog import errors
from towerlog.errors import Invalid, NotFound, TowerlogError
from towerlog.model.agent import AgentRow
from towerlog.model.command import Append, Command, Report
from towerlog.model.event import DamagedEvent, Event, FieldWarning, Refusal
from towerlog.model.outcome import Appended, Reported, Stored
from towerlog.model.principal import Principal, Scope
from towerlog.model.question import RowKind
from towerlog.model.run import RunRow

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
PLAIN_TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
STATUSES: dict[str, int] = {
    "malformed": 400,
    "validation_failed": 422,
    "id_reused": 409,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "link_expired": 410,
    "idempotency_mismatch": 422,
    "budget.exceeded": 402,
    "too_large": 413,
    "rate_limited": 429,
    "overloaded": 503,
    "storage_failed": 503,
    "internal": 500,
    "damaged": 500,
}
"""Error code → HTTP status, unless a dialect's page says otherwise. A subclass without an entry has its parent's."""
_ERRORS: dict[str, type[TowerlogError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, TowerlogError) and kind is not NotFound
}
"""Code → error, for refusals of single items. NotFound is made otherwise: it needs the name of what is missing."""

MAX_LABEL_CHARS = 200
MAX_ID_CHARS = 200
"""Characters of a free text such as a name, and of an id."""
MAX_PAGE = 200
DEFAULT_PAGE = 50
"""Rows of a page: the most, and what is sent when nobody asks for a number."""


class DialectSettings(msgspec.Struct, frozen=True):
    """The settings that the rules of dialects depend on; part of each call."""

    min_lease_seconds: int = 60
    max_event_bytes: int = 4 * 1024 * 1024
    max_body_bytes: int = 16 * 1024 * 1024
    """Also the limit of a checkpoint."""
    max_depth: int = 128
    credits_per_dollar: int = 1000
    public_url: str = ""
    """Where people find the server, for links; empty: nobody has said."""
    link_secret: str = ""
    """Signs answer links."""


Pause = Callable[[], None]
"""Called by what takes long between two pieces of its work, a few milliseconds each: others may go on meanwhile."""


def go_on() -> None:
    """The pause of what nobody waits for."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request as a dialect sees it: authenticated, admitted, its body decompressed, its path parameters decoded."""

    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    """Values by name; of a repeated name the last one."""
    headers: Mapping[bytes, bytes]
    """Lower-case names."""
    body: bytes
    """UTF-8 text, checked, unless the endpoint's body is binary. For the decoder alone: encoders find it empty."""
    settings: DialectSettings
    trace_id: str
    now_ms: int
    pause: Pause = go_on
    """Of its body, where that is long."""

    @property
    def has_body(self) -> bool:
        """Whether a body that is optional was sent; `null` is how some clients write that there is none."""
        return self.body.strip() not in (b"", b"null")


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A reply ready to be sent. `headers` are added to those that every reply has."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def ascii_json(text: bytes) -> bytes:
    """JSON text without line ends, every character beyond ASCII escaped: the same value in other bytes.

    A stream's content type names no charset, since clients compare the whole of it. So `requests` reads a stream as
    ISO-8859-1, and it and httpx end a line at U+0085 and U+2028 when they iterate over lines of text.
    """
    if text.isascii():
        return text
    # The encoder works on a string's content: it would also escape backslashes, quotes, and tabs between tokens.
    # Meanwhile NUL stands for the backslash: JSON text cannot hold one. All steps run in C.
    escaped = encode_basestring_ascii(text.decode().replace("\\", "\0").replace("\t", " "))[1:-1]
    return escaped.replace('\\"', '"').replace("\\u0000", "\\").encode("ascii")


def gap_frame(requested: int, oldest: int) -> bytes:
    """Tells a reader that what lay between its cursor and the oldest event left is gone. Carries no id."""
    text = f'{{"requested":{requested},"oldest_seq":{oldest},"missing":{oldest - requested - 1}}}'
    return b"event: gap\ndata: " + text.encode() + b"\n\n"


def damaged_frame(found: DamagedEvent, run_id: str | None) -> bytes:
    """Tells a reader of a run that events are damaged in the store and are left out. Carries no id."""
    requested, oldest = found.first_seq - 1, found.seq + 1
    hole = b'"requested":%d,"oldest_seq":%d,"missing":%d,' % (requested, oldest, oldest - requested - 1)
    return b"event: gap\ndata: {" + hole + _damaged_members(found, run_id) + b"}\n\n"


def damaged_in_feed(found: DamagedEvent, run_id: str | None) -> bytes:
    """The same for a reader of several runs, who counts by position."""
    return b"event: gap\ndata: {" + _damaged_members(found, run_id) + b"}\n\n"


def _damaged_members(found: DamagedEvent, run_id: str | None) -> bytes:
    place = b'"run_id":%s,"seq":%d' % (msgspec.json.encode(run_id), found.seq)
    return b'"reason":"damaged in the store",' + (place if found.run else b'"position":%d' % found.position)


OTHER_LOG = b'event: gap\ndata: {"reason":"the cursor is of another log"}\n\n'
"""Tells a reader that what it saw before is not what follows here."""


class Framing(Protocol):
    """Makes the frames of one subject in its order, where they depend on what came before."""

    def is_next(self, event: Event) -> bool:
        """Whether all events before this one were framed."""
        ...

    def frame(self, event: Event, epoch: str, row: RunRow | None, /) -> bytes | None:
        """As `frame` of a `FrameStyle`, once all events before this one were framed; again, of one that was."""
        ...


class FrameStyle(msgspec.Struct, frozen=True):
    """How a stream's events become bytes. All that goes through a stream is made here or by the transport's sink."""

    name: str
    frame: Callable[[Event, str, RunRow | None], bytes | None]
    """(event, log epoch, run) → whole frames, mostly one; None for an event that has no place in this stream.

    The run is None unless `with_row`. It is a row that has this event folded in, and perhaps later ones: as its commit
    left it for what is sent live, as the store has it for what is read back.
    """
    prologue: bytes
    """Sent at once: lines that end with one line end, since an empty line is an event to some readers."""
    closing: bytes = b""
    """Sent when the server ends a stream that has not come to its own end."""
    begin: Callable[[RunRow], bytes] | None = None
    """(the row of a run) → the frame before the first event that is sent. None: nothing stands there."""
    end: Callable[[RunRow, Event | None], bytes] | None = None
    """(the row of an ended run, the event that has ended it) → the frame after its last event. None: what this style
    shows has no end. The event is None unless `with_end`, and where it cannot be read."""
    with_end: bool = False
    """True: `end` needs that event, which is then read once for each reader."""
    with_row: bool = False
    """True: `frame` needs the run's row. What is read back then costs one look-up of rows a page."""
    gap: Callable[[int, int], bytes] = gap_frame
    """(requested, oldest left) → a frame that tells of a hole in a run's events."""
    damaged: Callable[[DamagedEvent, str | None], bytes] = damaged_frame
    """(what is damaged, its run's id where that is known) → a frame that stands in its place."""
    live: Callable[[Event, RunRow, AgentRow | None], bytes] | None = None
    """(event, its run and its agent as the commit left them) → one whole frame, in place of `frame`: of a style that is
    sent as things happen and never read back. None: of any other."""
    framing: Callable[[], Framing] | None = None
    """Makes the frames in place of `frame`, for readers who all begin with the first event. None: each event is framed
    by itself."""
    other_log: bytes = OTHER_LOG
    """Sent first to a reader whose cursor is of another log."""


class RowStyle(msgspec.Struct, frozen=True):
    """How rows that changed become bytes, on a stream of them. Each of these gives whole frames."""

    row: Callable[[RowKind, Any, int], bytes]
    """(kind, what the list of that kind shows, credits per dollar) → the frame of a row, without an id."""
    removed: Callable[[RowKind, str], bytes]
    """(kind, its id) → the frame of a row that is there no more."""
    place: Callable[[str], bytes]
    """(cursor) → what is put before the last frame of several: a reader that has it has everything up to there."""
    snapshot: Callable[[str, bool, Sequence[RowKind]], bytes]
    """(cursor, whether it goes on where its reader was, kinds of which all rows follow) → what a stream begins with."""
    position: Callable[[str], bytes]
    """(cursor) → says that a reader has everything up to there, where nothing else says it."""
    gap: Callable[[str], bytes]
    """(reason) → tells a reader that it has missed more than can be sent."""
    prologue: bytes = b""
    """As of a `FrameStyle`, and so is the next."""
    closing: bytes = b""


class Limit(msgspec.Struct, frozen=True):
    """A dialect's own rate limit. `setting` names the number per minute; `per` is `key` or `ip`."""

    setting: str
    per: str


class Sample(msgspec.Struct, frozen=True):
    """An example of an endpoint as JSON values: the reply of a success, and the request that it answers."""

    reply: Any
    request: Any = None


Warned = (
    Annotated[
        list[FieldWarning],
        msgspec.Meta(description="Details that were repaired, or kept and not used; absent if there are none."),
    ]
    | msgspec.UnsetType
)
"""Type of a reply's member `warnings`, which `with_warnings` adds where there are any."""

BodyKind = Literal["json", "ndjson", "binary", "form"]
"""What an endpoint's body is: one JSON value; that or one value a line; JSON or protobuf, told apart by its decoder,
which checks all of it itself; a form."""
BODY_TYPES: dict[BodyKind, tuple[str, ...]] = {
    "json": (JSON,),
    "ndjson": (JSON, "application/x-ndjson"),
    "binary": (JSON, PROTOBUF),
    "form": ("application/x-www-form-urlencoded",),
}
"""The media types that are taken, the usual one first. A body without a type is taken as well."""


class Endpoint(msgspec.Struct, frozen=True):
    """One method and path with what serves it. The server does not start with an endpoint that has no scope."""

    method: str
    path: str
    """`{name}` is one segment; `{name}:word` is a segment with an action after a colon."""
    name: str
    summary: str
    scopes: frozenset[Scope]
    """Any one of them suffices."""
    decode: Callable[[Call], Command]
    encode: Callable[[Any, Any, Call], Reply]
    """(outcome, command, call) → reply. What it repeats of the request stands in the command, never in the body."""
    stream: FrameStyle | RowStyle | None = None
    """Set on endpoints whose command may be a `FollowRun` or a `FollowAgent`; of a `FollowRows`, a `RowStyle`."""
    limited: bool = False
    """Counts against the dialect's `Limit`."""
    ingests: bool = False
    """Its command is an `Append` or a `Report`: telemetry."""
    is_one_event: bool = False
    """A body that is an object is an event by itself, and does not list its events."""
    request: Any = None
    """The body's type, for the OpenAPI document."""
    reply: Any = None
    """The success reply's type, for the OpenAPI document."""
    frames: tuple[Any, ...] = ()
    """The types that an event of its stream may have, for the OpenAPI document."""
    reply_status: int = 200
    refuses: tuple[type[TowerlogError], ...] = ()
    """What it may be refused with beside that which its scope, path, query and body can be refused for."""
    query: Any = None
    """A Struct type whose fields are the query parameters, for the OpenAPI document."""
    body: BodyKind = "json"
    refuses_by_item: bool = False
    """True: when no item of a batch could be stored, the 422 has the form of the reply and not of an error."""
    sample: Sample | None = None
    is_quick: Callable[[Call], bool] | None = None
    """Whether a longer body is decoded so fast that nobody has to wait for it; None: its objects are counted."""
    encodes_beside: bool = False
    """Its reply takes long to be made, and is made beside the event loop."""
    replay: bool = True
    """False: the reply stored for an Idempotency-Key leaves a secret out."""


class Dialect(msgspec.Struct, frozen=True):
    """A dialect: its endpoints and its form for errors."""

    name: str
    title: str
    endpoints: tuple[Endpoint, ...]
    explain: Callable[[TowerlogError, str], Reply]
    """(error, trace id) → reply with its status. Must know every error of `errors.py`."""
    limit: Limit | None = None
    recode: Callable[[Reply, Mapping[bytes, bytes]], Reply] | None = None
    """(refusal, headers of its request) → the same in the encoding of the request. None: all it speaks is JSON."""


def scopes(*names: Scope) -> frozenset[Scope]:
    """These scopes and `admin`, which may do everything."""
    return frozenset({*names, Scope.ADMIN})


def reply_json(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """A JSON reply of a value that msgspec can encode."""
    return Reply(status, msgspec.json.encode(value), JSON, headers)


def with_warnings(reply: Reply, warnings: tuple[FieldWarning, ...]) -> Reply:
    """The reply with what was repaired or could not be used of the request, beside its own members.

    A reply that is no object has no place for it, and of a refusal there is nothing that was stored all the same.
    """
    if reply.status >= 300 or reply.body[:1] != b"{":
        return reply
    members = b'"warnings":' + msgspec.json.encode(warnings) + b"}"
    own = reply.body[:-1]
    return msgspec.structs.replace(reply, body=own + (b"" if own == b"{" else b",") + members)


def stored_warnings(outcome: Appended | Reported, command: Append | Report) -> tuple[FieldWarning, ...]:
    """What became of stored events: one for each that would have changed a run which is for another key, or for the
    next worker, and for each member of their data that its run has no use for."""
    found: list[FieldWarning] = []
    is_batch, field, thread = True, "type", "thread"
    if isinstance(command, Append):
        is_batch, field, thread = command.is_batch, command.type_field, command.thread_field
    for number, result in enumerate(outcome.results):
        if not isinstance(result, Stored):
            continue
        index = number if is_batch else None
        if result.foreign:
            message = (
                f"{field}: another API key holds this run or has put it into the queue, or it waits for its next "
                "worker; the event is stored as foreign and changes nothing"
            )
            found.append(FieldWarning(index=index, field=field, message=message))
        for member, why in result.unused:
            place = f"{command.data_field}.{member}" if member else thread
            # Of what is missing there is nothing to keep.
            message = f"{place}: {why}" + ("" if why.endswith(".") else "; it is kept as it was sent and not used")
            found.append(FieldWarning(index=index, field=place, message=message))
    return tuple(found)


def status_of(error: TowerlogError) -> int:
    """The HTTP status of an error by `STATUSES`."""
    # From the most special class to its parents, so that a subclass may have a status of its own.
    for kind in type(error).__mro__:
        status = STATUSES.get(getattr(kind, "code", ""))
        if status is not None:
            return status
    return 500


def error_headers(error: TowerlogError, status: int) -> tuple[tuple[bytes, bytes], ...]:
    """`Retry-After` for errors that may be retried, `WWW-Authenticate` for a 401."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == 401:
        headers += ((b"www-authenticate", b"Bearer"),)
    wait_s = error.retry_after if error.retry_after is not None else 1 if error.retryable else None
    if wait_s is not None:
        headers += ((b"retry-after", b"%d" % wait_s),)
    return headers


PROBLEM = "application/problem+json"


def error_of(found: Refusal) -> TowerlogError:
    """The refusal of the only item of a request, as the error of the request."""
    if found.code == NotFound.code:
        return NotFound("object", found.message)
    return _ERRORS.get(found.code, Invalid)(found.message, field=found.field)
