"""The place of a store, held as its one writer's, to be filled with another database: what a restore does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from towerlog.store.lock import take_writer_place
from towerlog.store.owner import FOLDER_MODE
from towerlog.store.sqlite.upkeep.backup import Copy, copy_database, set_aside
from towerlog.store.sqlite.upkeep.pages import Progress
from towerlog.store.sqlite.upkeep.salvage import salvage
from towerlog.store.sqlite.upkeep.whole import check_whole


class Place(msgspec.Struct, frozen=True):
    """Made by `held_place`."""

    path: Path

    def copy(self, source: Path, fresh_epoch: str, is_alone: bool, progress: Progress) -> Copy:
        """A copy of a database, beside the place. `is_alone`: without the log that it may miss.

        Raises StoreTorn, and what `copy_database` raises.
        """
        if not is_alone:
            check_whole(source)
        target = self.path.with_name(f"{self.path.name}.restored")
        return Copy(copy_database(source, target, fresh_epoch, progress), self.path)

    def salvage(self, progress: Progress) -> tuple[Copy, list[str]]:
        """All that no rebuild can make of what is there, in a fresh database; and what could not be read.

        Raises StoreTorn, and what `salvage` raises.
        """
        check_whole(self.path)
        partial, lost = salvage(self.path, self.path, progress)
        return Copy(partial, self.path), lost

    def fill(self, copy: Copy, name: str) -> tuple[Path | None, int]:
        """Moves away what is there, with all that lies beside it, and puts the copy there; (where to, bytes)."""
        aside: Path | None = set_aside(self.path, name)
        if aside is not None and not aside.stat().st_size:
            aside.unlink()
            aside = None
        return aside, copy.publish()


@contextmanager
def held_place(path: Path) -> Iterator[Place]:
    """The writer's place, whatever lies there. Raises StoreLocked, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    lock = take_writer_place(path, is_empty_well=True)
    try:
        yield Place(path)
    finally:
        lock.close()
