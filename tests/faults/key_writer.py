"""A process that writes keys beside a server, one for each line that it is told, until its input ends.

`python -m tests.faults.key_writer PATH`: prints `open` once it has the store open beside its server. A line `fill`
makes a log that is longer than what counts in it; a line `put` makes one key, and is answered by its id, or by `busy`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import apsw

from towerlog.ambient import SystemClock, SystemIds
from towerlog.engine.audit.outside import key_created
from towerlog.engine.commands.keys import mint_key
from towerlog.errors import StoreLocked
from towerlog.model.audit import SERVER
from towerlog.model.principal import Scope
from towerlog.store.sqlite.connections.connection import checkpoint
from towerlog.store.sqlite.identities import SqliteIdentities, open_identities

FILLING = 40


def put(identities: SqliteIdentities) -> str:
    clock = SystemClock()
    user = identities.first_user(1)
    key = mint_key(clock, SystemIds(clock), 1, user.user_id, "beside", (Scope.READ,)).key
    try:
        identities.key_put(key, key_created(SERVER, key))
    except StoreLocked:
        return "busy"
    return key.key_id


def fill(identities: SqliteIdentities, db: apsw.Connection) -> str:
    for _ in range(FILLING):
        put(identities)
    pages, moved = checkpoint(db)
    assert pages == moved, "somebody is in the way"
    # The log begins anew inside its file, which keeps its size.
    return put(identities)


def main(path: Path) -> None:
    identities = asyncio.run(open_identities(path, "beside"))
    assert not identities.is_alone
    db = identities._db
    answer = "open"
    while True:
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
        line = sys.stdin.readline().strip()
        if not line:
            return
        answer = fill(identities, db) if line == "fill" else put(identities)
        # Not to wait: that it would have to is the answer.
        db.set_busy_timeout(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
