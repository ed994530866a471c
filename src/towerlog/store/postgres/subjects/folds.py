"""Which version of the folds has made the rows of an organisation: rows of `meta`, one for each of them."""

from __future__ import annotations

from towerlog.model import folds
from towerlog.store.postgres.connections import Db

_KEEP = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


async def keep_folds(db: Db, org: int) -> None:
    """All rows of the organisation are, or will be, folded by this version."""
    await db.do(_KEEP, folds.note_name(org), str(folds.FOLDS))


async def folds_of(db: Db, org: int) -> int:
    """The version that has folded all rows of the organisation."""
    return folds.read_folds(await db.value("SELECT value FROM meta WHERE name = $1", folds.note_name(org)))
