"""What of telemetry can be worked out before its turn comes: digests of bodies.

The writer works out for itself what was not prepared; a long body is prepared in the thread that has decoded it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from towerlog.model.chain import LONG_DATA_BYTES, content_digest, in_chain
from towerlog.model.command import Append, Command, Report
from towerlog.model.event import Draft, Item

_replace = msgspec.structs.replace


def prepared(command: Command, pause: Callable[[], None]) -> Command:
    """The command, with all of that in its drafts. `pause` is called between two of them."""
    if not isinstance(command, Append | Report):
        return command
    items: list[Item] = []
    for item in command.items:
        pause()
        items.append(_prepared(item))
    return _replace(command, items=items)


def _prepared(item: Item) -> Item:
    if not isinstance(item, Draft):
        return item
    is_long = len(item.data) > LONG_DATA_BYTES
    # A short body has many drafts where it comes here at all: their digests together are long work, too.
    if is_long or item.event_id is not None:
        item = _replace(item, content=content_digest(item.data))
    if is_long:
        item = _replace(item, chained=in_chain(item.data))
    return item
