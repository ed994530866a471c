-- The log, its projections and the content store, as in SQLite, with three differences:
-- * Every table of an organisation and every index of it begin with `org`, so that the tables can be distributed by it.
--   `org`, `credential`, `meta` and `migration` are small and on every node.
-- * An event is in two tables: its place, which holds all that is unique and the chain of hashes, and what it says, by
--   the month in which it was recorded. A month that is dropped leaves the places.
-- * Rows are JSON text in bytes, and no statement looks into them: what is searched for has a column.
-- Texts that are sorted or compared by < have the collation "C", which is the order of SQLite and of Python.

CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE org (
    org bigint PRIMARY KEY,
    org_id text COLLATE "C" NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL UNIQUE,
    created_at bigint NOT NULL
);

-- What an organisation has given out so far. Written with nearly every commit, unlike the table above, which is on every
-- node of a database that is spread over several.
CREATE TABLE org_count (
    org bigint PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0,
    runs bigint NOT NULL DEFAULT 0,
    agents bigint NOT NULL DEFAULT 0,
    -- The last entry of the audit: its number and its hash.
    audited bigint NOT NULL DEFAULT 0,
    audit_hash bytea NOT NULL DEFAULT '',
    -- The last number of the content store: microseconds of the database's clock, and never the same twice.
    contents bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Whose a digest is (1 a key's, 2 a session's, 3 a link's): who asks with one does not know the organisation yet.
CREATE TABLE credential (
    digest bytea NOT NULL,
    kind smallint NOT NULL,
    org bigint NOT NULL,
    PRIMARY KEY (digest, kind)
);

CREATE TABLE org_user (
    org bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    email text,
    created_at bigint NOT NULL,
    role text NOT NULL,
    -- A slow hash.
    password text,
    -- Who it is to the identity provider.
    subject text,
    removed_at bigint,
    -- Which came first: neither a clock that is set nor an id made by it tells.
    number bigint NOT NULL,
    PRIMARY KEY (org, user_id)
);
CREATE INDEX org_user_subject ON org_user (org, subject) WHERE subject IS NOT NULL;
CREATE INDEX org_user_member ON org_user (org, role) WHERE removed_at IS NULL;
CREATE INDEX org_user_number ON org_user (org, number);

-- Names and e-mail addresses without the case of their letters: a member's are its alone.
CREATE TABLE user_name (
    org bigint NOT NULL,
    folded text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    is_member boolean NOT NULL,
    PRIMARY KEY (org, folded, user_id)
);
CREATE UNIQUE INDEX user_name_taken ON user_name (org, folded) WHERE is_member;
CREATE INDEX user_name_user ON user_name (org, user_id);

CREATE TABLE api_key (
    org bigint NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL,
    scopes text NOT NULL,
    digest bytea NOT NULL,
    hint text NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint,
    number bigint NOT NULL,
    PRIMARY KEY (org, key_id)
);
CREATE UNIQUE INDEX api_key_digest ON api_key (org, digest);
CREATE INDEX api_key_number ON api_key (org, number);

-- A browser in which a member is signed in, by the digest of what the browser keeps. One that is over is dropped.
CREATE TABLE session (
    org bigint NOT NULL,
    digest bytea NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    address text,
    session_id text COLLATE "C" NOT NULL,
    seen_at bigint NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (org, user_id, number)
);
CREATE UNIQUE INDEX session_by_id ON session (org, session_id);
CREATE UNIQUE INDEX session_by_number ON session (org, number);
CREATE UNIQUE INDEX session_digest ON session (org, digest);
CREATE INDEX session_expires ON session (org, expires_at);

CREATE TABLE sign_in_link (
    org bigint NOT NULL,
    link_id text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    -- The key or the member that has made it.
    made_by text,
    used_at bigint,
    number bigint NOT NULL,
    PRIMARY KEY (org, link_id)
);
CREATE UNIQUE INDEX sign_in_link_digest ON sign_in_link (org, digest);
CREATE UNIQUE INDEX sign_in_link_number ON sign_in_link (org, number);
CREATE INDEX sign_in_link_user ON sign_in_link (org, user_id, number);
CREATE INDEX sign_in_link_expires ON sign_in_link (org, expires_at);

-- Versions, which never change: the number tells which came first. It is the organisation's own, as are all numbers that
-- a reply or a cursor may show.
CREATE TABLE persona (
    org bigint NOT NULL,
    number bigint NOT NULL,
    persona_key text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, number)
);
CREATE UNIQUE INDEX persona_by_id ON persona (org, persona_key, version);
CREATE INDEX persona_by_key ON persona (org, persona_key, number);
CREATE TABLE provider_route (
    org bigint NOT NULL,
    number bigint NOT NULL,
    route_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, number)
);
CREATE UNIQUE INDEX provider_route_by_id ON provider_route (org, route_id, version);

-- The audit: what people and keys have changed, in one chain of hashes for each organisation.
CREATE TABLE audit_entry (
    org bigint NOT NULL,
    number bigint NOT NULL,
    at bigint NOT NULL,
    -- The latest time of all entries up to this one: it never steps back, as a clock may that is set.
    latest_at bigint NOT NULL,
    user_id text,
    user_name text,
    key_id text,
    key_name text,
    rule_id text,
    rule_name text,
    budget_id text,
    budget_name text,
    link_id text,
    sent_to text,
    action text NOT NULL,
    object_id text NOT NULL,
    hash bytea NOT NULL,
    -- All that the columns say and more, hashed as it stands here.
    doc bytea NOT NULL,
    PRIMARY KEY (org, number)
);
CREATE INDEX audit_by_object ON audit_entry (org, object_id, number);
CREATE INDEX audit_by_time ON audit_entry (org, latest_at, number);

-- Where each event stands: what is there once, and what the event after it is checked with.
CREATE TABLE place (
    org bigint NOT NULL,
    run bigint NOT NULL,
    seq bigint NOT NULL,
    position bigint NOT NULL,
    recorded_at bigint NOT NULL,
    event_id text COLLATE "C",
    hash bytea NOT NULL,
    PRIMARY KEY (org, run, seq)
);
CREATE UNIQUE INDEX place_by_position ON place (org, position);
CREATE UNIQUE INDEX place_by_id ON place (org, run, event_id) WHERE event_id IS NOT NULL;

-- What it says, by the month in which it was recorded; the months are made when they are needed.
CREATE TABLE event (
    org bigint NOT NULL,
    position bigint NOT NULL,
    recorded_at bigint NOT NULL,
    type text NOT NULL,
    occurred_at bigint,
    dialect text NOT NULL,
    agent bigint NOT NULL,
    feed bigint,
    flags integer NOT NULL,
    -- What describes the event, and under `effects` what the folds act on: hashed as it stands here.
    facts bytea,
    data bytea NOT NULL,
    -- Of an event with an id: the digest by which a repeat is known without reading its data.
    content bytea,
    PRIMARY KEY (org, position, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX event_by_feed ON event (org, feed, position) WHERE feed IS NOT NULL;

-- The last event that a trim took from a run: the first that is left is checked with its hash.
CREATE TABLE trim (
    org bigint NOT NULL,
    run bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (org, run)
);

CREATE TABLE run (
    org bigint NOT NULL,
    run bigint NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    trace_id text COLLATE "C" NOT NULL,
    foreign_id text COLLATE "C",
    agent text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    model text COLLATE "C",
    persona_id text COLLATE "C",
    parent_key text COLLATE "C",
    -- When it began, by its sender's clock where that told it.
    began_at bigint NOT NULL,
    cancel_requested_at bigint,
    quiet boolean NOT NULL,
    seen_at bigint,
    -- When it ended, while it has content that may be erased, where in the log, and of which kinds that is (1 deltas,
    -- 2 checkpoints, 4 events).
    ended_at bigint,
    ended_position bigint,
    held integer,
    -- What screens search by and add up: its names in lower case, whether it has failed or is silent, how long it took
    -- (null: it has not ended), a digest of each member of its metadata, and what it has used.
    names text COLLATE "C" NOT NULL,
    failed boolean NOT NULL,
    silent boolean NOT NULL,
    took_ms bigint,
    tags bytea NOT NULL,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    total_tokens bigint,
    cost_nanos bigint,
    computed_nanos bigint,
    unpriced_calls bigint,
    doc bytea NOT NULL,
    PRIMARY KEY (org, run)
) WITH (fillfactor = 80);
CREATE INDEX run_held_deltas ON run (org, ended_at) WHERE held & 1 <> 0;
CREATE INDEX run_held_checkpoints ON run (org, ended_at) WHERE held & 2 <> 0;
CREATE INDEX run_held_events ON run (org, ended_at) WHERE held & 4 <> 0;
CREATE INDEX run_ended_deltas ON run (org, ended_position) WHERE held & 1 <> 0;
CREATE INDEX run_ended_checkpoints ON run (org, ended_position) WHERE held & 2 <> 0;
CREATE INDEX run_ended_events ON run (org, ended_position) WHERE held & 4 <> 0;
CREATE UNIQUE INDEX run_by_id ON run (org, run_id);
CREATE INDEX run_by_thread ON run (org, thread_id, run);
CREATE INDEX run_by_trace ON run (org, trace_id, run);
CREATE INDEX run_by_foreign_id ON run (org, foreign_id, run) WHERE foreign_id IS NOT NULL;
CREATE INDEX run_by_status ON run (org, status, run);
CREATE INDEX run_by_agent ON run (org, agent, run);
CREATE INDEX run_by_began_at ON run (org, began_at);
CREATE INDEX run_by_parent ON run (org, parent_key, run) WHERE parent_key IS NOT NULL;
CREATE INDEX run_cancelling ON run (org, cancel_requested_at, run) WHERE status = 'cancelling';
-- Runs that nothing but their own words keeps alive, by the minute of the last one.
CREATE INDEX run_seen ON run (org, quiet, seen_at, run) WHERE seen_at IS NOT NULL;

CREATE TABLE thread (
    org bigint NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    number bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, thread_id)
) WITH (fillfactor = 80);
-- Which came first: a clock that is set does not tell.
CREATE INDEX thread_by_number ON thread (org, number);

CREATE TABLE agent (
    org bigint NOT NULL,
    agent bigint NOT NULL,
    agent_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, agent)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX agent_by_id ON agent (org, agent_id);
CREATE UNIQUE INDEX agent_by_name ON agent (org, name);

CREATE TABLE usage (
    org bigint NOT NULL,
    hour bigint NOT NULL,
    agent text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    events bigint NOT NULL,
    runs_started bigint NOT NULL,
    runs_ended bigint NOT NULL,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    total_tokens bigint,
    cost_nanos bigint,
    computed_nanos bigint,
    unpriced_calls bigint,
    price_version text COLLATE "C",
    PRIMARY KEY (org, hour, agent, model, status)
) WITH (fillfactor = 50);

CREATE TABLE checkpoint (
    org bigint NOT NULL,
    run bigint NOT NULL,
    agent text COLLATE "C" NOT NULL,
    step_index bigint NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    initial boolean NOT NULL,
    position bigint NOT NULL,
    -- What it points at in the content store: that must not go before it.
    node bytea,
    metas bytea,
    held_node bytea,
    held_metas bytea,
    doc bytea NOT NULL,
    PRIMARY KEY (org, run, agent, step_index)
);
CREATE INDEX checkpoint_by_node ON checkpoint (org, node) WHERE node IS NOT NULL;
CREATE INDEX checkpoint_by_metas ON checkpoint (org, metas) WHERE metas IS NOT NULL;
CREATE INDEX checkpoint_by_held_node ON checkpoint (org, held_node) WHERE held_node IS NOT NULL;
CREATE INDEX checkpoint_by_held_metas ON checkpoint (org, held_metas) WHERE held_metas IS NOT NULL;
CREATE INDEX checkpoint_by_thread ON checkpoint (org, thread_id, initial, run, step_index);

-- What is open: questions, and checkpoints that wait for approval.
CREATE TABLE approval (
    org bigint NOT NULL,
    run bigint NOT NULL,
    seq bigint NOT NULL,
    position bigint NOT NULL,
    -- Of tool calls the step, of questions null.
    step_index bigint,
    -- When it expires, wall ms; null once that was noted.
    due_at bigint,
    doc bytea NOT NULL,
    PRIMARY KEY (org, run, seq)
);
CREATE INDEX approval_by_org ON approval (org, position);
CREATE INDEX approval_due ON approval (org, due_at) WHERE due_at IS NOT NULL;

-- Content: each distinct message once, each distinct prefix of a history once.
CREATE TABLE message (
    org bigint NOT NULL,
    key bytea NOT NULL,
    number bigint NOT NULL,
    packed boolean NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (org, key)
);
CREATE UNIQUE INDEX message_by_number ON message (org, number);
CREATE TABLE node (
    org bigint NOT NULL,
    key bytea NOT NULL,
    number bigint NOT NULL,
    parent bytea NOT NULL,
    -- Empty where there are several messages, which then stand in the block: a packed array.
    message bytea NOT NULL,
    block bytea,
    -- Messages up to the last of this node.
    length bigint NOT NULL,
    PRIMARY KEY (org, key)
);
CREATE UNIQUE INDEX node_by_number ON node (org, number);
CREATE INDEX node_by_parent ON node (org, parent) WHERE parent <> '';
CREATE INDEX node_by_message ON node (org, message) WHERE message <> '';
CREATE TABLE meta_list (
    org bigint NOT NULL,
    key bytea NOT NULL,
    number bigint NOT NULL,
    parent bytea NOT NULL,
    packed boolean NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (org, key)
);
CREATE UNIQUE INDEX meta_list_by_number ON meta_list (org, number);
CREATE INDEX meta_list_by_parent ON meta_list (org, parent) WHERE parent <> '';

-- State that is no projection.
-- Cancels that have not reached all runs below theirs yet: a step takes a few, so a large family takes several commits.
CREATE TABLE cancel_spread (
    org bigint NOT NULL,
    run bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, run)
);
-- How long which content is kept.
CREATE TABLE retention (
    org bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, kind)
);
-- Erasures that the log tells of and that are being carried out: a step takes some events, so a run takes several commits.
CREATE TABLE erasing (
    org bigint NOT NULL,
    run bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, run)
);
-- Times are on the clock of leases, which all nodes share: the database's own.
CREATE TABLE lane (
    org bigint NOT NULL,
    run bigint NOT NULL,
    state text NOT NULL,
    agent text COLLATE "C" NOT NULL,
    label_set text COLLATE "C" NOT NULL,
    queue_position bigint NOT NULL,
    queued_at bigint NOT NULL,
    expires_at bigint,
    doc bytea NOT NULL,
    PRIMARY KEY (org, run)
) WITH (fillfactor = 70);
-- A claim goes from one set of labels to the next; within one the first place is the oldest.
CREATE INDEX lane_queued ON lane (org, label_set, queue_position) WHERE state = 'queued';
CREATE INDEX lane_queued_for ON lane (org, agent, label_set, queue_position) WHERE state = 'queued';
CREATE INDEX lane_queued_in_order ON lane (org, queue_position, queued_at) WHERE state = 'queued';
CREATE INDEX lane_open ON lane (org, queue_position) WHERE state <> 'done';
CREATE INDEX lane_held ON lane (org, expires_at) WHERE state = 'held';
CREATE INDEX lane_held_in_order ON lane (org, queue_position) WHERE state = 'held';

CREATE TABLE price (
    org bigint NOT NULL,
    price_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, price_id)
);
CREATE UNIQUE INDEX price_by_number ON price (org, number);
-- Answer links that were used, until they would have expired anyway.
CREATE TABLE spent_link (
    org bigint NOT NULL,
    nonce text COLLATE "C" NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (org, nonce)
);
CREATE INDEX spent_link_by_until ON spent_link (org, until);

CREATE TABLE budget (
    org bigint NOT NULL,
    budget_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    -- When the timer has something to do about it, wall ms; 0 for now.
    due_at bigint,
    -- When the period began that it counts.
    period_start bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, budget_id)
);
CREATE UNIQUE INDEX budget_by_number ON budget (org, number);
CREATE INDEX budget_due ON budget (org, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX budget_by_period ON budget (org, period_start) WHERE due_at IS NOT NULL;
-- Runs that a budget has paused.
CREATE TABLE budget_pause (
    org bigint NOT NULL,
    budget_id text COLLATE "C" NOT NULL,
    run bigint NOT NULL,
    PRIMARY KEY (org, budget_id, run)
);
CREATE TABLE reservation (
    org bigint NOT NULL,
    reservation_id text COLLATE "C" NOT NULL,
    -- Whose share it takes.
    key_id text COLLATE "C" NOT NULL,
    run bigint NOT NULL,
    -- On the clock of leases.
    expires_at bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, reservation_id)
);
CREATE INDEX reservation_by_key ON reservation (org, key_id);
CREATE INDEX reservation_by_run ON reservation (org, run, reservation_id);
CREATE INDEX reservation_by_expiry ON reservation (org, expires_at);

CREATE TABLE alert_rule (
    org bigint NOT NULL,
    rule_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    -- The timer looks at it.
    timed boolean NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, rule_id)
);
CREATE UNIQUE INDEX alert_rule_by_number ON alert_rule (org, number);
CREATE INDEX alert_rule_timed ON alert_rule (org, rule_id) WHERE timed;
-- What a rule adds up, by the minute of the server's clock.
CREATE TABLE alert_window (
    org bigint NOT NULL,
    rule_id text COLLATE "C" NOT NULL,
    minute bigint NOT NULL,
    runs bigint NOT NULL,
    failed bigint NOT NULL,
    spent_nanos bigint NOT NULL,
    PRIMARY KEY (org, rule_id, minute)
);
CREATE TABLE alert (
    org bigint NOT NULL,
    alert_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    rule_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    episode bigint NOT NULL,
    state text NOT NULL,
    fired_at bigint NOT NULL,
    -- Of the newest event when the row changed last.
    position bigint NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, alert_id)
);
CREATE UNIQUE INDEX alert_by_number ON alert (org, number);
CREATE INDEX alert_by_position ON alert (org, position);
-- One alert for each episode, whatever is repeated.
CREATE UNIQUE INDEX alert_by_subject ON alert (org, rule_id, subject, episode);
CREATE INDEX alert_about ON alert (org, subject);
CREATE INDEX alert_open ON alert (org, rule_id, number) WHERE state = 'ALERT';
CREATE TABLE delivery (
    org bigint NOT NULL,
    delivery_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    rule_id text COLLATE "C" NOT NULL,
    alert_id text COLLATE "C" NOT NULL,
    state text NOT NULL,
    -- Who receives it: what is slow there delays nothing that goes elsewhere.
    receiver text COLLATE "C" NOT NULL,
    -- When it is attempted next, wall ms.
    due_at bigint,
    created_at bigint NOT NULL,
    -- What it tells, in delivery_body.
    body_id text COLLATE "C" NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, delivery_id)
);
CREATE UNIQUE INDEX delivery_by_number ON delivery (org, number);
CREATE INDEX delivery_by_alert ON delivery (org, alert_id, number);
CREATE INDEX delivery_due ON delivery (org, receiver, due_at, number) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_by_body ON delivery (org, body_id);
-- What is told of an alert, once for all channels; it goes with the last delivery of it.
CREATE TABLE delivery_body (
    org bigint NOT NULL,
    body_id text COLLATE "C" NOT NULL,
    alert_id text COLLATE "C" NOT NULL,
    -- How many of its deliveries are still to be written, and its place in the line of those that wait for that.
    unwritten bigint NOT NULL,
    place bigint NOT NULL,
    body bytea NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, body_id)
);
CREATE INDEX delivery_body_by_alert ON delivery_body (org, alert_id);
CREATE INDEX delivery_body_unwritten ON delivery_body (org, place, unwritten) WHERE unwritten > 0;

CREATE TABLE quarantine (
    org bigint NOT NULL,
    run bigint NOT NULL,
    -- The run's own.
    number bigint NOT NULL,
    name bytea NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    doc bytea NOT NULL,
    PRIMARY KEY (org, run, number)
);
CREATE UNIQUE INDEX quarantine_once ON quarantine (org, run, name);

CREATE TABLE reply (
    org bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    -- 0 and empty until the reply itself is stored; until then it is made of the ids.
    status integer NOT NULL,
    body bytea NOT NULL,
    created_at bigint NOT NULL,
    run bigint,
    lease_epoch bigint,
    ids bytea NOT NULL,
    PRIMARY KEY (org, name)
);
CREATE INDEX reply_by_created_at ON reply (org, created_at);

-- Whoever is not the owner sees the rows of the organisations that `towerlog.orgs` names, `*` for all; without it none.
-- The setting is read once for each statement.
DO $$
DECLARE
    one regclass;
BEGIN
    FOR one IN SELECT pg_class.oid::regclass FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND attname = 'org'
        AND relname <> 'credential'
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', one);
        EXECUTE format(
            'CREATE POLICY of_org ON %s USING ((SELECT current_setting(''towerlog.orgs'', true) = ''*'') OR org = ANY ('
            '(SELECT string_to_array(nullif(current_setting(''towerlog.orgs'', true), ''*''), '','')::bigint[])::bigint[]))',
            one
        );
    END LOOP;
END
$$;
