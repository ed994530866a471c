"""The place of a store, held as its one writer's, to be filled with another database: what a restore does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from towerlog.model.audit import AuditEntry
from towerlog.store.lock import make_folder, take_writer_place
from towerlog.store.placing import Copy
from towerlog.store.space import check_room
from towerlog.store.sqlite.connections.at_rest import readable
from towerlog.store.sqlite.connections.connection import log_of
from towerlog.store.sqlite.upkeep import replacement
from towerlog.store.sqlite.upkeep.backup import append_entries, bring_up_to_date, copy_database, without_log
from towerlog.store.sqlite.upkeep.matching_files import check_whole
from towerlog.store.sqlite.upkeep.pages import Progress
from towerlog.store.sqlite.upkeep.salvage import salvage, salvage_beside_log


class Place(msgspec.Struct, frozen=True):
    """Made by `held_place`."""

    path: Path

    def copy(self, source: Path, fresh_epoch: str, is_alone: bool, progress: Progress) -> Copy:
        """A copy of a database with the schema of this version, beside the place. `is_alone`: of its file alone,
        whatever log lies beside it.

        Raises StoreTorn, and what `copy_database` raises.
        """
        target = self.path.with_name(f"{self.path.name}.restored")
        copied = partial(copy_database, target=target, fresh_epoch=fresh_epoch, progress=progress, may_be_older=True)
        if is_alone:
            with without_log(source, target) as lone:
                copy = Copy(copied(lone), self.path)
        else:
            with readable(source, target) as whole:
                check_whole(whole)
                copy = Copy(copied(whole), self.path)
        try:
            bring_up_to_date(copy.partial)
        except BaseException:
            copy.discard()
            raise
        return copy

    def salvage(self, progress: Progress) -> tuple[Copy, list[str]]:
        """All that no rebuild can make of what is there, in a fresh database; and what could not be read.

        Raises StoreTorn, and what `salvage` raises.
        """
        lost: list[str] = []
        check_whole(self.path, lost)
        saved, unreadable = salvage_beside_log(self.path, progress) if lost else salvage(self.path, self.path, progress)
        return Copy(saved, self.path), lost + unreadable

    def tell(self, copy: Copy, told: Iterable[AuditEntry]) -> None:
        """Adds to the audit of a copy before it is put there. Raises StorageFailed."""
        append_entries(copy.partial, told)

    def fill(self, copy: Copy, name: str) -> tuple[Path | None, int]:
        """Puts the copy there, and keeps what is there with all that belongs to it; (where, bytes of the copy).

        Raises what `replacement.replace` raises.
        """
        had_one = any(one.exists() and one.stat().st_size for one in (self.path, log_of(self.path)))
        aside = self.path.with_name(f"{self.path.name}.{name}")
        replacement.replace(self.path, copy.partial, aside)
        return aside if had_one else None, self.path.stat().st_size


def copy_of(source: Path, target: Path, fresh_epoch: str, guard_mib: int, progress: Progress) -> Copy:
    """A copy of a store beside `target`, where that takes nothing of what writes leave free.

    Raises StoreTorn, and what `check_room` and `copy_database` raise.
    """
    check_room(target.parent, (source, log_of(source)), guard_mib)
    with readable(source, target) as whole:
        check_whole(whole)
        return Copy(copy_database(whole, target, fresh_epoch, progress), target)


@contextmanager
def held_place(path: Path) -> Iterator[Place]:
    """The writer's place, whatever lies there. Raises StoreLocked, OSError, StorageFailed."""
    make_folder(path)
    lock = take_writer_place(path)
    try:
        replacement.finish(path)
        if path.exists():
            lock.lock_database()
        yield Place(path)
    finally:
        lock.close()
