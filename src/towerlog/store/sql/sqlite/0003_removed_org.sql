-- Organisations that were removed. The row in `org` stays, with the organisation's id for a name, so that its number is
-- never given out again; what else it had is erased in steps, until `erased_at`.
CREATE TABLE removed_org (
    org INTEGER PRIMARY KEY,
    removed_at INTEGER NOT NULL,
    erased_at INTEGER,
    doc BLOB NOT NULL
);
