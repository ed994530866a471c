"""By what content is used: brings what was stored since into the indexes by which an erasure asks for that.

Nobody else asks, so who writes rows leaves these indexes alone. A row that is there is kept up to date by SQLite.
"""

from __future__ import annotations

import apsw

from towerlog.store.sqlite.reads import one

INDEXED_ROWS = 4096
"""Of one step, some 30 ms of the writer's time. A group adds no more (see `engine.commit.queue.MESSAGES_OF_WORK`), so
whoever erases keeps up with whoever writes."""
_CHECKPOINTS = (
    "UPDATE checkpoint SET indexed = 1 WHERE (run, agent, step_index) IN"
    " (SELECT run, agent, step_index FROM checkpoint WHERE indexed IS NULL ORDER BY org, position LIMIT ?)"
)


def index_uses(db: apsw.Connection, limit: int = INDEXED_ROWS) -> bool:
    """Brings as many rows as that into the indexes, in the caller's transaction; whether these were all there are."""
    left = limit
    for table in ("node", "meta_list"):
        some = f"SELECT {table} FROM {table} WHERE {table} >= ? ORDER BY {table} LIMIT ?"
        db.execute(f"UPDATE {table} SET indexed = 1 WHERE {table} IN ({some})", (_first_to_index(db, table), left))
        left -= db.changes()
    db.execute(_CHECKPOINTS, (left,))
    return db.changes() < left


def _first_to_index(db: apsw.Connection, table: str) -> int:
    """From which number on the rows are in no index; all before it are.

    Found by halves, so that nothing has to be kept: numbers of rows that were erased may be given out again.
    """
    first, end = 1, (one(db, f"SELECT max({table}) FROM {table}", ()) or 0) + 1
    sql = f"SELECT {table}, indexed FROM {table} WHERE {table} >= ? ORDER BY {table} LIMIT 1"
    while first < end:
        middle = (first + end) // 2
        number, indexed = db.execute(sql, (middle,)).get
        if indexed is None:
            end = middle
        else:
            first = number + 1
    return first
