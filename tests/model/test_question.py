"""Questions: a closed set of values, each asked for by something."""

from __future__ import annotations

from typing import get_args

from towerlog.model import question
from towerlog.model.question import FollowRun, Listen, ListenKind, ListRuns, Read, RowFilter, RowKind, RunFilter, Stream

DEFINED = {
    value
    for name, value in vars(question).items()
    if isinstance(value, type) and value.__module__ == question.__name__ and not name.startswith("_")
}


def test_every_value_is_a_question_a_stream_a_filter_or_what_sockets_listen_to() -> None:
    assert DEFINED - {*get_args(Read), *get_args(Stream)} == {RunFilter, RowFilter, RowKind, Listen, ListenKind}


def test_nothing_said_asks_for_everything() -> None:
    assert not any(getattr(RunFilter(), name) for name in RunFilter.__struct_fields__)
    assert FollowRun("r") == FollowRun("r", 0, True, None)
    assert ListRuns(RunFilter(), 5).before is None
