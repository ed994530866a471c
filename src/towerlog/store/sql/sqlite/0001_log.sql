-- The log, its projections and the content store. Every key begins with the organisation: `event.key`, `run.run`,
-- `agent.agent` and `audit_entry.key` carry it in their high bits (see model/principal.py), the other tables in their
-- first column.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE org (
    org INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    position INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,
    agents INTEGER NOT NULL DEFAULT 0,
    -- The last entry of the audit: its number and its hash.
    audited INTEGER NOT NULL DEFAULT 0,
    audit_hash BLOB NOT NULL DEFAULT x''
);

CREATE TABLE user (
    org INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT,
    created_at INTEGER NOT NULL,
    role TEXT NOT NULL,
    -- A slow hash.
    password TEXT,
    -- Who it is to the identity provider.
    subject TEXT,
    removed_at INTEGER,
    -- Which came first: neither a clock that is set nor an id made by it tells.
    number INTEGER NOT NULL,
    PRIMARY KEY (org, user_id)
) WITHOUT ROWID;

CREATE INDEX user_subject ON user (org, subject) WHERE subject IS NOT NULL;
-- How many members there are, and how many with each role.
CREATE INDEX user_member ON user (org, role) WHERE removed_at IS NULL;
-- A page of members.
CREATE INDEX user_number ON user (org, number);

-- Names and e-mail addresses without the case of their letters: a member's are its alone.
CREATE TABLE user_name (
    org INTEGER NOT NULL,
    folded TEXT NOT NULL,
    user_id TEXT NOT NULL,
    is_member INTEGER NOT NULL,
    PRIMARY KEY (org, folded, user_id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX user_name_taken ON user_name (org, folded) WHERE is_member;
CREATE INDEX user_name_user ON user_name (org, user_id);

CREATE TABLE api_key (
    org INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    number INTEGER NOT NULL,
    PRIMARY KEY (org, key_id)
) WITHOUT ROWID;

-- A browser in which a member is signed in, by the digest of what the browser keeps. One that is over is dropped.
CREATE TABLE session (
    org INTEGER NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address TEXT,
    session_id TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (org, user_id, number)
) WITHOUT ROWID;

CREATE INDEX session_expires ON session (expires_at);
CREATE UNIQUE INDEX session_by_id ON session (org, session_id);
CREATE UNIQUE INDEX session_by_number ON session (org, number);

CREATE TABLE sign_in_link (
    org INTEGER NOT NULL,
    link_id TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- The key or the member that has made it.
    made_by TEXT,
    used_at INTEGER,
    number INTEGER NOT NULL,
    PRIMARY KEY (org, link_id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX sign_in_link_number ON sign_in_link (org, number);
CREATE INDEX sign_in_link_user ON sign_in_link (org, user_id, number);

CREATE INDEX sign_in_link_expires ON sign_in_link (expires_at);

-- Versions, which never change: the number tells which came first. It is the organisation's own, as are all numbers that
-- a reply or a cursor may show: what others store must not be counted by them.
CREATE TABLE persona (
    number INTEGER NOT NULL,
    org INTEGER NOT NULL,
    persona_key TEXT NOT NULL,
    version TEXT NOT NULL,
    doc BLOB NOT NULL
);
CREATE UNIQUE INDEX persona_by_id ON persona (org, persona_key, version);
CREATE INDEX persona_by_key ON persona (org, persona_key, number);
CREATE UNIQUE INDEX persona_by_org ON persona (org, number);
CREATE TABLE provider_route (
    number INTEGER NOT NULL,
    org INTEGER NOT NULL,
    route_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    doc BLOB NOT NULL
);
CREATE UNIQUE INDEX provider_route_by_id ON provider_route (org, route_id, version);
CREATE UNIQUE INDEX provider_route_by_org ON provider_route (org, number);

-- The audit: what people and keys have changed, in one chain of hashes for each organisation.
CREATE TABLE audit_entry (
    key INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- The latest time of all entries up to this one: it never steps back, as a clock may that is set.
    latest_at INTEGER NOT NULL,
    user_id TEXT,
    user_name TEXT,
    key_id TEXT,
    key_name TEXT,
    rule_id TEXT,
    rule_name TEXT,
    budget_id TEXT,
    budget_name TEXT,
    link_id TEXT,
    sent_to TEXT,
    action TEXT NOT NULL,
    object_id TEXT NOT NULL,
    hash BLOB NOT NULL,
    -- All that the columns say and more, hashed as it stands here.
    doc BLOB NOT NULL
);
-- The rowid closes every index, so that both are in the order of the numbers.
CREATE INDEX audit_by_object ON audit_entry (org, object_id);
CREATE INDEX audit_by_time ON audit_entry (org, latest_at);

CREATE TABLE event (
    key INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    occurred_at INTEGER,
    dialect TEXT NOT NULL,
    event_id TEXT,
    agent INTEGER NOT NULL,
    feed INTEGER,
    flags INTEGER NOT NULL,
    -- Before what may be long: the event after this one is checked with it.
    hash BLOB NOT NULL,
    -- What describes the event, and under `effects` what the folds act on: hashed as it stands here.
    facts BLOB,
    data BLOB NOT NULL,
    -- Of an event with an id: the digest by which a repeat is known without reading its data.
    content BLOB
);
CREATE UNIQUE INDEX event_by_seq ON event (run, seq);
-- The last event that a trim took from a run: the first that is left is checked with its hash.
CREATE TABLE trim (run INTEGER PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE UNIQUE INDEX event_by_id ON event (run, event_id) WHERE event_id IS NOT NULL;
-- The rowid closes every index, so that this one is (agent, position).
CREATE INDEX event_by_feed ON event (feed) WHERE feed IS NOT NULL;

CREATE TABLE run (
    run INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    foreign_id TEXT,
    agent TEXT,
    status TEXT NOT NULL,
    model TEXT,
    persona_id TEXT,
    parent_key TEXT,
    -- When it began, by its sender's clock where that told it.
    began_at INTEGER NOT NULL,
    cancel_requested_at INTEGER,
    quiet INTEGER NOT NULL,
    seen_at INTEGER,
    -- When it ended, while it has content that may be erased, where in the log, and of which kinds that is (1 deltas,
    -- 2 checkpoints, 4 events).
    ended_at INTEGER,
    ended_position INTEGER,
    held INTEGER,
    doc BLOB NOT NULL
);
CREATE INDEX run_held_deltas ON run (org, ended_at) WHERE held & 1;
CREATE INDEX run_held_checkpoints ON run (org, ended_at) WHERE held & 2;
CREATE INDEX run_held_events ON run (org, ended_at) WHERE held & 4;
CREATE INDEX run_ended_deltas ON run (org, ended_position) WHERE held & 1;
CREATE INDEX run_ended_checkpoints ON run (org, ended_position) WHERE held & 2;
CREATE INDEX run_ended_events ON run (org, ended_position) WHERE held & 4;
CREATE UNIQUE INDEX run_by_id ON run (org, run_id);
CREATE INDEX run_by_thread ON run (org, thread_id);
CREATE INDEX run_by_trace ON run (org, trace_id);
CREATE INDEX run_by_foreign_id ON run (org, foreign_id) WHERE foreign_id IS NOT NULL;
CREATE INDEX run_by_status ON run (org, status);
CREATE INDEX run_by_agent ON run (org, agent);
CREATE INDEX run_by_began_at ON run (org, began_at);
CREATE INDEX run_by_parent ON run (org, parent_key) WHERE parent_key IS NOT NULL;
CREATE INDEX run_cancelling ON run (cancel_requested_at) WHERE status = 'cancelling';
-- Runs that nothing but their own words keeps alive, by the minute of the last one.
CREATE INDEX run_seen ON run (quiet, seen_at) WHERE seen_at IS NOT NULL;

CREATE TABLE thread (
    org INTEGER NOT NULL,
    thread_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    number INTEGER NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, thread_id)
) WITHOUT ROWID;
-- Which came first: a clock that is set does not tell. The time is here for a table that cannot be read any more.
CREATE INDEX thread_by_number ON thread (org, number, created_at);

CREATE TABLE agent (
    agent INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    name TEXT NOT NULL,
    doc BLOB NOT NULL
);
CREATE UNIQUE INDEX agent_by_id ON agent (org, agent_id);
CREATE UNIQUE INDEX agent_by_name ON agent (org, name);

CREATE TABLE usage (
    org INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    agent TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    events INTEGER NOT NULL,
    runs_started INTEGER NOT NULL,
    runs_ended INTEGER NOT NULL,
    input_tokens INTEGER,
    cached_input_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    total_tokens INTEGER,
    cost_nanos INTEGER,
    computed_nanos INTEGER,
    unpriced_calls INTEGER,
    price_version TEXT,
    PRIMARY KEY (org, hour, agent, model, status)
) WITHOUT ROWID;

CREATE TABLE checkpoint (
    run INTEGER NOT NULL,
    agent TEXT NOT NULL,
    step_index INTEGER NOT NULL,
    org INTEGER NOT NULL,
    thread_id TEXT NOT NULL,
    status TEXT NOT NULL,
    initial INTEGER NOT NULL,
    position INTEGER NOT NULL,
    -- What it points at in the content store: that must not go before it.
    node BLOB,
    metas BLOB,
    held_node BLOB,
    held_metas BLOB,
    doc BLOB NOT NULL,
    PRIMARY KEY (run, agent, step_index)
) WITHOUT ROWID;
CREATE INDEX checkpoint_by_node ON checkpoint (org, node) WHERE node IS NOT NULL;
CREATE INDEX checkpoint_by_metas ON checkpoint (org, metas) WHERE metas IS NOT NULL;
CREATE INDEX checkpoint_by_held_node ON checkpoint (org, held_node) WHERE held_node IS NOT NULL;
CREATE INDEX checkpoint_by_held_metas ON checkpoint (org, held_metas) WHERE held_metas IS NOT NULL;
CREATE INDEX checkpoint_by_thread ON checkpoint (org, thread_id, initial, run, step_index);
-- What is open: questions, and checkpoints that wait for approval.
CREATE TABLE approval (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    org INTEGER NOT NULL,
    position INTEGER NOT NULL,
    -- Of tool calls the step, of questions null.
    step_index INTEGER,
    -- When it expires, wall ms; null once that was noted.
    due_at INTEGER,
    doc BLOB NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX approval_by_org ON approval (org, position);
CREATE INDEX approval_due ON approval (due_at) WHERE due_at IS NOT NULL;

-- Content: each distinct message once, each distinct prefix of a history once.
CREATE TABLE message (
    message INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    key BLOB NOT NULL,
    packed INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX message_by_key ON message (org, key);
CREATE TABLE node (
    node INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    key BLOB NOT NULL,
    parent BLOB NOT NULL,
    -- Empty where there are several messages, which then stand in the block: a packed array.
    message BLOB NOT NULL,
    block BLOB,
    -- Messages up to the last of this node: how long a history is that a sender goes on from is asked without a walk.
    length INTEGER NOT NULL
);
CREATE UNIQUE INDEX node_by_key ON node (org, key);
-- Whether anything goes on from it, or has this message.
CREATE INDEX node_by_parent ON node (org, parent) WHERE parent <> x'';
CREATE INDEX node_by_message ON node (org, message) WHERE message <> x'';
CREATE TABLE meta_list (
    meta_list INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    key BLOB NOT NULL,
    parent BLOB NOT NULL,
    packed INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX meta_list_by_key ON meta_list (org, key);
CREATE INDEX meta_list_by_parent ON meta_list (org, parent) WHERE parent <> x'';

-- State that is no projection.
-- Cancels that have not reached all runs below theirs yet: a step takes a few, so a large family takes several commits.
CREATE TABLE cancel_spread (
    run INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    doc BLOB NOT NULL
);
-- How long which content is kept.
CREATE TABLE retention (
    org INTEGER NOT NULL,
    kind TEXT NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, kind)
) WITHOUT ROWID;
-- Erasures that the log tells of and that are being carried out: a step takes some events, so a run takes several commits.
CREATE TABLE erasing (
    run INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    doc BLOB NOT NULL
);
CREATE TABLE lane (
    run INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    state TEXT NOT NULL,
    agent TEXT NOT NULL,
    label_set TEXT NOT NULL,
    queue_position INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    expires_at INTEGER,
    doc BLOB NOT NULL
);
-- A claim goes from one set of labels to the next; within one the first place is the oldest.
CREATE INDEX lane_queued ON lane (org, label_set, queue_position) WHERE state = 'queued';
CREATE INDEX lane_queued_for ON lane (org, agent, label_set, queue_position) WHERE state = 'queued';
CREATE INDEX lane_queued_in_order ON lane (org, queue_position, queued_at) WHERE state = 'queued';
CREATE INDEX lane_open ON lane (org, queue_position) WHERE state <> 'done';
CREATE INDEX lane_held ON lane (expires_at) WHERE state = 'held';
CREATE INDEX lane_held_by_org ON lane (org, queue_position) WHERE state = 'held';

CREATE TABLE price (
    org INTEGER NOT NULL,
    price_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, price_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX price_by_number ON price (org, number);
-- Answer links that were used, until they would have expired anyway.
CREATE TABLE spent_link (
    org INTEGER NOT NULL,
    nonce TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (org, nonce)
) WITHOUT ROWID;
CREATE INDEX spent_link_by_until ON spent_link (until);

CREATE TABLE budget (
    org INTEGER NOT NULL,
    budget_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    -- When the timer has something to do about it, wall ms; 0 for now.
    due_at INTEGER,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, budget_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX budget_by_number ON budget (org, number);
CREATE INDEX budget_due ON budget (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX budget_by_period ON budget (json_extract(CAST(doc AS TEXT), '$.period_start'));
-- Runs that a budget has paused.
CREATE TABLE budget_pause (
    org INTEGER NOT NULL,
    budget_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (org, budget_id, run)
) WITHOUT ROWID;
CREATE TABLE reservation (
    org INTEGER NOT NULL,
    reservation_id TEXT NOT NULL,
    -- Whose share it takes.
    key_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    -- On the clock of leases.
    expires_at INTEGER NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, reservation_id)
) WITHOUT ROWID;
CREATE INDEX reservation_by_key ON reservation (org, key_id);
CREATE INDEX reservation_by_run ON reservation (run, reservation_id);
CREATE INDEX reservation_by_expiry ON reservation (expires_at);

CREATE TABLE alert_rule (
    org INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    -- The timer looks at it.
    timed INTEGER NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, rule_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX alert_rule_by_number ON alert_rule (org, number);
CREATE INDEX alert_rule_timed ON alert_rule (org, rule_id) WHERE timed = 1;
-- What a rule adds up, by the minute of the server's clock.
CREATE TABLE alert_window (
    org INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    minute INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    spent_nanos INTEGER NOT NULL,
    PRIMARY KEY (org, rule_id, minute)
) WITHOUT ROWID;
CREATE TABLE alert (
    org INTEGER NOT NULL,
    alert_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    episode INTEGER NOT NULL,
    state TEXT NOT NULL,
    fired_at INTEGER NOT NULL,
    -- Of the newest event when the row changed last.
    position INTEGER NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, alert_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX alert_by_number ON alert (org, number);
CREATE INDEX alert_by_position ON alert (org, position);
-- One alert for each episode, whatever is repeated.
CREATE UNIQUE INDEX alert_by_subject ON alert (org, rule_id, subject, episode);
CREATE INDEX alert_about ON alert (org, subject);
CREATE INDEX alert_open ON alert (org, rule_id, number) WHERE state = 'ALERT';
CREATE TABLE delivery (
    org INTEGER NOT NULL,
    delivery_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    state TEXT NOT NULL,
    -- Who receives it: what is slow there delays nothing that goes elsewhere.
    receiver TEXT NOT NULL,
    -- When it is attempted next, wall ms.
    due_at INTEGER,
    created_at INTEGER NOT NULL,
    -- What it tells, in delivery_body.
    body_id TEXT NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, delivery_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX delivery_by_number ON delivery (org, number);
CREATE INDEX delivery_by_alert ON delivery (org, alert_id, number);
CREATE INDEX delivery_due ON delivery (org, receiver, due_at, number) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_by_body ON delivery (org, body_id);
-- What is told of an alert, once for all channels; it goes with the last delivery of it.
CREATE TABLE delivery_body (
    org INTEGER NOT NULL,
    body_id TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    -- How many of its deliveries are still to be written, and its place in the line of those that wait for that.
    unwritten INTEGER NOT NULL,
    place INTEGER NOT NULL,
    body BLOB NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (org, body_id)
) WITHOUT ROWID;
CREATE INDEX delivery_body_by_alert ON delivery_body (org, alert_id);
CREATE INDEX delivery_body_unwritten ON delivery_body (org, place, unwritten) WHERE unwritten > 0;

CREATE TABLE quarantine (
    -- The run's own.
    number INTEGER NOT NULL,
    run INTEGER NOT NULL,
    name BLOB NOT NULL,
    key_id TEXT NOT NULL,
    doc BLOB NOT NULL
);
CREATE UNIQUE INDEX quarantine_by_run ON quarantine (run, number);
CREATE UNIQUE INDEX quarantine_once ON quarantine (run, name);

CREATE TABLE reply (
    org INTEGER NOT NULL,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    -- 0 and empty until the reply itself is stored; until then it is made of the ids.
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    run INTEGER,
    lease_epoch INTEGER,
    ids BLOB NOT NULL,
    PRIMARY KEY (org, name)
);
CREATE INDEX reply_by_created_at ON reply (created_at);
