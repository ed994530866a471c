"""Room that was freed: free pages go back to the file system, and what is left of old bytes in used pages is wiped.

SQLite writes zeros over what it frees (`secure_delete`). But where it moves rows to another page, the bytes that they
had stay behind in the first, where nothing finds them any more and nothing overwrites them. So pages are gone over:
what lies in a page of a table or an index between its pointers and its rows is no part of any row, and becomes zeros.

That is written to the file beside SQLite's own way, but through its own layer, and only while all that was committed is
in the file. No reader looks at those bytes, so a write that is torn leaves the page as good as one that is whole.
"""

from __future__ import annotations

import apsw

from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.transaction import transaction

GIVEN_BACK_PAGES = 128
"""Free pages of one step: a mebibyte, each of which may move a page of the end."""
WIPED_PAGES = 512
"""Pages that one step looks through."""
_LEAF_HEADER, _INNER_HEADER = 8, 12
_HEADERS = {2: _INNER_HEADER, 5: _INNER_HEADER, 10: _LEAF_HEADER, 13: _LEAF_HEADER}
"""First byte of a page of a table or an index → bytes of its header. A page of another use begins with less than 2, in
files of less than 256 GiB, or is a map of pages, whose places are known."""
MAX_WIPED_BYTES = 1 << 37
_FILE_HEADER = 100


def give_back(db: apsw.Connection) -> int:
    """Gives some free pages back; how many are left. None are given back by a file that was made without that.

    Each step begins the log anew, unless a reader keeps it: what gives room back must not take as much of it first.
    """
    if not db.pragma("freelist_count") or db.pragma("auto_vacuum") != files.INCREMENTAL:
        return 0
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_RESTART)
    with transaction(db, makes_room=True):
        for _ in db.execute(f"PRAGMA incremental_vacuum({GIVEN_BACK_PAGES})"):
            pass
    return int(db.pragma("freelist_count"))


def gives_back(db: apsw.Connection) -> bool:
    """Whether the file gives free pages back: it was made so."""
    return bool(db.pragma("auto_vacuum") == files.INCREMENTAL)


def wipe(db: apsw.Connection, page: int) -> int:
    """Goes over some pages from `page` on (1 is the first); the next page, 0 at the end.

    `page` again where the log could not be emptied: a reader keeps it.
    """
    moved, _ = files.checkpoint(db, apsw.SQLITE_CHECKPOINT_RESTART)
    if moved < 0:
        return page
    before = db.pragma("data_version")
    # From here on nobody commits. What somebody has committed since is not in the file, so the page is looked at again.
    db.execute("BEGIN IMMEDIATE")
    try:
        return _wipe(db, page) if db.pragma("data_version") == before else page
    finally:
        db.execute("ROLLBACK")
        db.execute("PRAGMA shrink_memory").fetchall()


def _wipe(db: apsw.Connection, page: int) -> int:
    size, count = int(db.pragma("page_size")), int(db.pragma("page_count"))
    if size * count > MAX_WIPED_BYTES:
        return 0
    # By SQLite's own layer: to close a descriptor of the database would give up all its locks of this process.
    file = apsw.VFSFile(db.open_vfs, db.filename, [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0])
    last, wiped = min(page + WIPED_PAGES, count + 1), False
    try:
        for number in range(page, last):
            at = (number - 1) * size
            clean = None
            if not _is_map(number, size):
                clean = wiped_page(file.xRead(size, at), _FILE_HEADER if number == 1 else 0)
            if clean is not None:
                file.xWrite(clean, at)
                wiped = True
        if wiped:
            file.xSync(apsw.SQLITE_SYNC_FULL)
    finally:
        file.xClose()
    return last if last <= count else 0


def _is_map(number: int, size: int) -> bool:
    """Whether a page is a map of pages, of which a file that gives pages back has some."""
    entries = size // 5 + 1
    return number >= 2 and (number - 2) % entries == 0


def wiped_page(page: bytes, skip: int = 0) -> bytes | None:
    """A page with zeros between its pointers and its rows; None where there are none but zeros, or it is no such page.

    `skip`: what stands before the header of the page.
    """
    header = _HEADERS.get(page[skip])
    if header is None:
        return None
    cells = int.from_bytes(page[skip + 3 : skip + 5], "big")
    begins = int.from_bytes(page[skip + 5 : skip + 7], "big") or 65536
    pointers = skip + header
    ends = pointers + 2 * cells
    if not ends <= begins <= len(page):
        return None
    places = memoryview(page)[pointers:ends]
    if any(int.from_bytes(places[at : at + 2], "big") < begins for at in range(0, len(places), 2)):
        return None
    gap = page[ends:begins]
    return None if not gap.strip(b"\0") else page[:ends] + bytes(begins - ends) + page[begins:]
