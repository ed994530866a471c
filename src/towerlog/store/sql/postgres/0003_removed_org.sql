-- Organisations that were removed. The row in `org` stays, with the organisation's id for a name, so that its number is
-- never given out again; what else it had is erased in steps, until `erased_at`.
CREATE TABLE removed_org (
    org bigint PRIMARY KEY,
    removed_at bigint NOT NULL,
    erased_at bigint,
    doc bytea NOT NULL
);
ALTER TABLE removed_org ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_org ON removed_org USING ((SELECT current_setting('towerlog.orgs', true) = '*') OR org = ANY (
    (SELECT string_to_array(nullif(current_setting('towerlog.orgs', true), '*'), ',')::bigint[])::bigint[]));
