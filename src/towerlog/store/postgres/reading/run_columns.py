"""What stands of a run in columns of its own: what looks it up, and what screens search it by."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import msgspec

from towerlog.model.run import RunRow, Status
from towerlog.model.run_text import in_one_case
from towerlog.store.columns import rows

COLUMNS = (
    ("run", "bigint"), ("org", "bigint"), ("run_id", "text"), ("thread_id", "text"), ("trace_id", "text"),
    ("foreign_id", "text"), ("agent", "text"), ("status", "text"), ("model", "text"), ("persona_id", "text"),
    ("parent_key", "text"), ("began_at", "bigint"), ("cancel_requested_at", "bigint"), ("quiet", "boolean"),
    ("seen_at", "bigint"), ("ended_at", "bigint"), ("ended_position", "bigint"), ("held", "integer"), ("names", "text"),
    ("failed", "boolean"), ("silent", "boolean"), ("took_ms", "bigint"), ("tags", "bytea"),
    *((name, "bigint") for name in rows.USAGE_FIGURES), ("doc", "bytea"),
)  # fmt: skip
"""Names and types, in the order of `run_columns`."""
FIXED = ("run", "org", "run_id", "thread_id", "trace_id")
"""What stays as it was when a row is changed. The thread is the one that it stands in by then."""
TAG_BYTES = 12
_NO_METADATA = b"{}"
_FAILED = frozenset({Status.FAILED, Status.LOST})
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def run_columns(row: RunRow) -> rows.Row:
    """Values for COLUMNS."""
    indexed = list(rows.run_indexed(row))
    indexed[13] = bool(indexed[13])
    return (*indexed, *searched(row), _encode(row))


def searched(row: RunRow) -> rows.Row:
    """(names, failed, silent, took_ms, tags, what it has used)."""
    names = (row.run_id, row.thread_id, row.trace_id, row.foreign_id or "", row.agent or "")
    return (
        in_one_case("\n".join(names)),
        row.status in _FAILED or row.error is not None,
        row.silent_at is not None and row.ended_at is None,
        took_ms(row),
        b"" if bytes(row.metadata) == _NO_METADATA else b"".join(_tags_of(bytes(row.metadata))),
        *msgspec.structs.astuple(row.usage),
    )


def took_ms(row: RunRow) -> int | None:
    """How long a run that has ended took: by the sender's clock where that told both ends, else as they arrived."""
    if row.ended_at is None:
        return None
    if row.start_told_at is not None and row.end_told_at is not None and row.end_told_at >= row.start_told_at:
        return row.end_told_at - row.start_told_at
    began_at = row.created_at if row.started_at is None else row.started_at
    return max(row.ended_at, began_at) - began_at


def tag(place: str, value: bytes) -> bytes:
    """A digest of a member of the metadata. `place`: its name, or `labels.` and its name; `value`: as JSON text."""
    return sha256(b"%b\0%b" % (place.encode("utf-8", "surrogatepass"), value)).digest()[:TAG_BYTES]


def quoted(value: str) -> bytes:
    """A text as JSON text."""
    return _encode(value)


def _tags_of(metadata: bytes) -> Iterator[bytes]:
    for name, raw in _members_of(metadata).items():
        yield tag(name, _as_searched(bytes(raw)))
        if name == "labels":
            for label, value in _members_of(bytes(raw)).items():
                yield tag(f"labels.{label}", _as_searched(bytes(value)))


def _members_of(text: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object; none of anything else, and of what cannot be read."""
    try:
        return _members(text)
    except msgspec.MsgspecError:
        return {}


def _as_searched(text: bytes) -> bytes:
    """A value as it is searched for: a text in one spelling, anything else as it was sent."""
    text = text.strip()
    try:
        return quoted(_text(text)) if text[:1] == b'"' else text
    except msgspec.MsgspecError:
        return text
