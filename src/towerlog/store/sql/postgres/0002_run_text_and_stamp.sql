-- What a run says in words, for searches; written when its input, result, error, phase or metadata change, and when
-- somebody asks, answers or writes. Runs of before this are found by their words after `towerlog rebuild`.
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
