"""The fold of a run's metadata: the objects that its events tell, merged, as far as the row has room for them."""

from __future__ import annotations

import msgspec

from towerlog.model.facts import Effects
from towerlog.model.row_bounds import metadata_fits
from towerlog.model.run import MAX_METADATA_BYTES, RunRow


def metadata_after(row: RunRow, told: msgspec.Raw, *, late: bool = False) -> msgspec.Raw:
    """The run's metadata with what an event tells; as it was, where both together are longer than MAX_METADATA_BYTES,
    or than what the row has room for beside open questions and what waits for its agent.

    What is told late fills in what was missing, else it takes precedence.
    """
    if len(bytes(told)) > MAX_METADATA_BYTES:
        return row.metadata
    merged = merge_objects(told, row.metadata) if late else merge_objects(row.metadata, told)
    return merged if metadata_fits(row, merged) else row.metadata


def told_metadata_fits(row: RunRow, effects: Effects) -> bool:
    """Whether the run's row has room for what an event tells of its metadata, if it tells any."""
    told = effects.metadata
    return told is msgspec.UNSET or metadata_after(row, told, late=row.is_terminal()) is not row.metadata


def merge_objects(left: msgspec.Raw, right: msgspec.Raw) -> msgspec.Raw:
    """One JSON object with the members of both; those of the right one take precedence."""
    merged = _decode_object(left) | _decode_object(right)
    return msgspec.Raw(msgspec.json.encode(merged))


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
