"""Commands and outcomes: closed sets of values."""

from __future__ import annotations

import re
from typing import get_args

from towerlog.model import command
from towerlog.model.command import Append, Write
from towerlog.model.event import Refusal
from towerlog.model.outcome import Appended, Outcome, Stored
from towerlog.model.question import Read, Stream

KINDS = [*get_args(Write), *get_args(Read), *get_args(Stream), *get_args(Outcome)]
DEFINED = {
    name: value
    for name, value in vars(command).items()
    if isinstance(value, type) and value.__module__ == command.__name__ and not name.startswith("_")
}


def test_every_value_is_a_command_an_outcome_or_a_part_of_one() -> None:
    named = {kind.__name__ for kind in KINDS}
    spoken_of = " ".join(str(hint) for kind in DEFINED.values() for hint in kind.__annotations__.values())
    parts = {name for name in DEFINED if re.search(rf"\b{name}\b", spoken_of)}
    beside = {"Idempotency"}
    assert set(DEFINED) == (named & set(DEFINED)) | parts | beside


def test_no_command_both_reads_and_writes() -> None:
    sets = [set(get_args(union)) for union in (Write, Read, Stream)]
    assert len(set.union(*sets)) == sum(len(one) for one in sets)


def test_results_keep_the_order_of_the_items() -> None:
    refused = Refusal("validation_failed", "no")
    outcome = Appended([Stored(7, 1, "run"), refused])
    assert Append("steps", [refused]).items == [refused]
    assert outcome.results[1] is refused
    assert outcome.results[0] == Stored(7, 1, "run", duplicate=False, late=False, commands=())
