"""What of telemetry can be worked out before its turn comes: digests of long bodies, the names of a long history.

The writer works out for itself what was not prepared; a long body is prepared in the thread that has decoded it.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.ingest.content import named
from towerlog.model.chain import LONG_DATA_BYTES, content_digest, in_chain
from towerlog.model.command import Append, Command, Report
from towerlog.model.event import Draft, Item

_replace = msgspec.structs.replace


def prepared(command: Command, org: int) -> Command:
    """The command, with all of that in its drafts. `org`: the organisation of who sends it."""
    if not isinstance(command, Append | Report):
        return command
    return _replace(command, items=[_prepared(item, org) for item in command.items])


def _prepared(item: Item, org: int) -> Item:
    if not isinstance(item, Draft):
        return item
    if len(item.data) > LONG_DATA_BYTES:
        item = _replace(item, content=content_digest(item.data), chained=in_chain(item.data))
    if item.history is not None:
        item = _replace(item, history=named(org, item.history))
    return item
