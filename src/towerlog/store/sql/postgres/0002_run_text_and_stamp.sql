-- What a run says in words, for searches; written when its input, result, error, phase or metadata change, and when
-- somebody asks, answers or writes. A row is made with a run's first event: runs of before this have none, and are found
-- by their words after `towerlog rebuild`.
CREATE TABLE run_text (
    org bigint NOT NULL,
    run bigint NOT NULL,
    given text COLLATE "C" NOT NULL,
    produced text COLLATE "C" NOT NULL,
    talk text COLLATE "C" NOT NULL,
    about text COLLATE "C" NOT NULL,
    PRIMARY KEY (org, run)
);
ALTER TABLE run_text ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_org ON run_text USING ((SELECT current_setting('towerlog.orgs', true) = '*') OR org = ANY (
    (SELECT string_to_array(nullif(current_setting('towerlog.orgs', true), '*'), ',')::bigint[])::bigint[]));

-- Another one with each transaction that changes rows of the organisation: who finds the one that it has left or seen
-- last knows that nobody else has been here.
ALTER TABLE org_count ADD COLUMN stamp uuid NOT NULL DEFAULT gen_random_uuid();

-- Nodes of the build before go on beside newer ones, and know nothing of stamps: what they write draws one here. Needed
-- where such nodes may be, which is in a database that has an organisation already; see docs/operate/upgrade.md for when
-- they may go.
DO $draw$
BEGIN
    IF NOT EXISTS (SELECT FROM org_count) THEN
        RETURN;
    END IF;
    CREATE FUNCTION draw_own_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.stamp := gen_random_uuid();
        RETURN NEW;
    END $$;
    CREATE FUNCTION draw_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE org_count SET stamp = gen_random_uuid() WHERE org = coalesce(NEW.org, OLD.org);
        RETURN NULL;
    END $$;
    CREATE FUNCTION draw_stamps() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE org_count SET stamp = gen_random_uuid() WHERE org IN (SELECT org FROM gone);
        RETURN NULL;
    END $$;
    -- Nearly all that is written counts something of its organisation as well.
    CREATE TRIGGER draw_stamp BEFORE UPDATE ON org_count FOR EACH ROW
        WHEN (current_setting('towerlog.stamps', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION draw_own_stamp();
    -- What does not: reservations that run out, and content that is swept.
    CREATE TRIGGER draw_stamp AFTER INSERT OR UPDATE OR DELETE ON budget FOR EACH ROW
        WHEN (current_setting('towerlog.stamps', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION draw_stamp();
    CREATE TRIGGER draw_stamp AFTER INSERT OR UPDATE OR DELETE ON budget_pause FOR EACH ROW
        WHEN (current_setting('towerlog.stamps', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION draw_stamp();
    CREATE TRIGGER draw_stamp AFTER INSERT OR UPDATE OR DELETE ON reservation FOR EACH ROW
        WHEN (current_setting('towerlog.stamps', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION draw_stamp();
    CREATE TRIGGER draw_stamp AFTER DELETE ON message REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
        WHEN (current_setting('towerlog.stamps', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION draw_stamps();
    CREATE TRIGGER draw_stamp AFTER DELETE ON node REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
        WHEN (current_setting('towerlog.stamps', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION draw_stamps();
    CREATE TRIGGER draw_stamp AFTER DELETE ON meta_list REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
        WHEN (current_setting('towerlog.stamps', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION draw_stamps();
END $draw$;
