"""What of telemetry can be worked out before its turn comes: digests of bodies, the names of a long history.

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
    is_long = len(item.data) > LONG_DATA_BYTES
    # A short body has many drafts where it comes here at all: their digests together are long work, too.
    if is_long or item.event_id is not None:
        item = _replace(item, content=content_digest(item.data))
    if is_long:
        item = _replace(item, chained=in_chain(item.data))
    if item.history is not None:
        item = _replace(item, history=named(org, item.history))
    return item
