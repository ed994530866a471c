-- The log, its projections and the content store. Every key begins with the organisation: `event.key`, `run.run` and
-- `agent.agent` carry it in their high bits (see model/principal.py), the other tables in their first column.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE org (
    org INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    position INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,
    agents INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE user (
    org INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT,
    created_at INTEGER NOT NULL,
    -- Which came first: neither a clock that is set nor an id made by it tells.
    number INTEGER NOT NULL,
    PRIMARY KEY (org, user_id)
) WITHOUT ROWID;

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
    doc BLOB NOT NULL
);
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
    doc BLOB NOT NULL,
    PRIMARY KEY (run, agent, step_index)
) WITHOUT ROWID;
CREATE INDEX checkpoint_by_thread ON checkpoint (org, thread_id, initial, run, step_index);
CREATE INDEX checkpoint_waiting ON checkpoint (org, position) WHERE status = 'waiting_for_approval';

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
    message BLOB NOT NULL
);
CREATE UNIQUE INDEX node_by_key ON node (org, key);
CREATE TABLE meta_list (
    meta_list INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    key BLOB NOT NULL,
    parent BLOB NOT NULL,
    packed INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX meta_list_by_key ON meta_list (org, key);

-- State that is no projection.
-- Cancels that have not reached all runs below theirs yet: a step takes a few, so a large family takes several commits.
CREATE TABLE cancel_spread (
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
