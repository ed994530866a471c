"""What runs say in words: written beside their rows, and looked through by searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from towerlog.model.run_text import RunText
from towerlog.store.columns.questions.searches import MAX_TEXT_CHARS, TEXT_COLUMNS, TEXT_PARTS, text_row, text_value
from towerlog.store.sqlite.conditions import Condition

_BEGUN = (
    f"INSERT OR REPLACE INTO run_text ({TEXT_COLUMNS})"
    " VALUES (?1, ?2, coalesce(?3, ''), coalesce(?4, ''), coalesce(?5, ''), coalesce(?6, ''))"
)
_TOLD = (
    "UPDATE run_text SET given = coalesce(?3, given), produced = coalesce(?4, produced),"
    " talk = CASE WHEN ?5 IS NULL THEN talk WHEN talk = '' THEN ?5"
    f" ELSE substr(?5 || char(10) || talk, 1, {MAX_TEXT_CHARS}) END, about = coalesce(?6, about)"
    " WHERE run = ?1 AND org = ?2"
)
_HAS_WORD = " OR ".join(f"instr({part}, ?) > 0" for part in TEXT_PARTS)
_SAID = f"EXISTS (SELECT 1 FROM run_text WHERE run_text.run = run.run AND ({_HAS_WORD}))"
NAMES = ("run_id", "thread_id", "trace_id", "foreign_id", "agent")


def write(db: apsw.Connection, texts: Iterable[RunText]) -> None:
    """In the transaction that is open."""
    for text in texts:
        db.execute(_BEGUN if text.anew else _TOLD, text_row(text))


def run_texts(db: apsw.Connection, org: int, numbers: Sequence[int]) -> dict[int, RunText]:
    """What runs of an organisation say, by number."""
    sql = f"SELECT {TEXT_COLUMNS} FROM run_text WHERE +org = ? AND run IN ({', '.join('?' * len(numbers))})"
    return {row[0]: text_value(row) for row in db.execute(sql, (org, *numbers))}


def has_word(word: str, lower: str) -> Condition:
    """That a run has this word in a name or in what it says; `lower`: the function that takes the case off a name."""
    named = " OR ".join(f"instr({lower}({name}), ?) > 0" for name in NAMES)
    return f"({named} OR {_SAID})", (word,) * (len(NAMES) + len(TEXT_PARTS))
