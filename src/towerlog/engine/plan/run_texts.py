"""What an event tells of its run in words, for a search: read from its data once, when it is folded.

Plain events tell nothing: their data is not looked at.
"""

from __future__ import annotations

import msgspec

from towerlog.dialects.views.event_members import letter_of, result_of
from towerlog.model.event import Event, EventType
from towerlog.model.facts import Erases
from towerlog.model.run import RunRow
from towerlog.model.run_text import RunText, joined, searchable, values_text

_NO_METADATA = b"{}"
_STARTS = frozenset({EventType.RUN_QUEUED, EventType.RUN_STARTED})
_LETTERS = frozenset({EventType.RUN_INPUT, EventType.RUN_MESSAGE})
TELLING = _STARTS | _LETTERS | {EventType.RUN_COMPLETED, EventType.RUN_WAITING, EventType.RUN_ERASED}
"""Types that tell something by themselves; any other only by what it changes in its run's row."""


class _Start(msgspec.Struct, frozen=True, gc=False):
    input: msgspec.Raw = msgspec.Raw(b"")


_read_start = msgspec.json.Decoder(_Start).decode


def told(before: RunRow | None, after: RunRow, event: Event) -> RunText | None:
    """What an event adds to the text of its run, None for nothing; the row before it (None: there was none) and after.

    The text of a run begins with its first event, whatever that tells. An event whose content is erased tells nothing;
    that which tells of the erasure takes all that was kept.
    """
    if event.effects.erases is Erases.EVENTS:
        return RunText(event.run, event.org, anew=True)
    about = _about(before, after)
    kind = event.type
    given = produced = talk = None
    if kind in TELLING and event.facts.erased is None:
        try:
            if kind in _STARTS:
                given = values_text(bytes(_read_start(event.data).input)) or None
            elif kind in _LETTERS:
                talk = searchable(letter_of(event.data) or "") or None
            elif kind is EventType.RUN_WAITING:
                talk = searchable(event.facts.question or "") or None
            elif kind is EventType.RUN_COMPLETED:
                produced = values_text(result_of(event, after.source) or b"") or None
        except msgspec.MsgspecError:
            pass  # no JSON object: an event of an earlier version
    if before is not None and given is None and produced is None and talk is None and about is None:
        return None
    return RunText(event.run, event.org, given, produced, talk, about, anew=before is None)


def _about(before: RunRow | None, after: RunRow) -> str | None:
    """What the row says in words, if that has changed."""
    if before is None:
        if after.error is None and after.phase is None and bytes(after.metadata) == _NO_METADATA:
            return None
    elif (before.error, before.phase, before.metadata) == (after.error, after.phase, after.metadata):
        return None
    return joined((after.error, after.phase, values_text(bytes(after.metadata))))
