"""The questions of `PostgresStore`, by subject: each a line that names the function which answers it."""

from __future__ import annotations

from towerlog.store.postgres import write
from towerlog.store.postgres.questions import HasConnections, Question, Via
from towerlog.store.postgres.reading import content, descent, registry, screens, usage
from towerlog.store.postgres.reading import events as logged
from towerlog.store.postgres.reading import lanes as queue
from towerlog.store.postgres.reading import runs as by_run
from towerlog.store.postgres.reading import threads as folded
from towerlog.store.postgres.subjects import alerts as told
from towerlog.store.postgres.subjects import approvals as approval_queries
from towerlog.store.postgres.subjects import audit as entries
from towerlog.store.postgres.subjects import lost_rows, money, people, policies, texts
from towerlog.store.postgres.upkeep import erasure, forwarding, removal, verification


class LogQuestions(HasConnections):
    """The log, runs, and what is folded from them."""

    events = Question(logged.events)
    events_at = Question(logged.events_at)
    feed = Question(logged.feed)
    feed_start = Question(logged.feed_start)
    log = Question(logged.log)
    counters = Question(folded.counters)
    runs_touched = Question(logged.runs_touched)
    moments = Question(screens.moments)
    run_trim = Question(write.trim_run, Via.BETWEEN_UNITS)

    run = Question(by_run.run)
    runs = Question(by_run.runs)
    run_facets = Question(screens.run_facets)
    run_durations = Question(screens.run_durations)
    run_sums = Question(screens.run_sums)
    run_ids_beginning = Question(by_run.run_ids_beginning)
    runs_by_number = Question(by_run.runs_by_number)
    run_texts = Question(texts.run_texts)
    run_ids_of_parents = Question(descent.run_ids_of_parents)
    run_children = Question(descent.run_children)
    run_descendants = Question(descent.run_descendants)
    thread = Question(folded.thread)
    threads = Question(folded.threads)
    agent = Question(folded.agent)
    agents = Question(folded.agents)
    agents_named = Question(folded.agents_named)
    agents_by_number = Question(folded.agents_by_number)
    usage_by = Question(usage.usage_by)
    thread_states = Question(folded.thread_states)
    run_of_trace = Question(folded.run_of_trace)
    checkpoints_at = Question(folded.checkpoints_at)
    checkpoint_latest_of_run = Question(folded.checkpoint_latest_of_run)
    checkpoints = Question(folded.checkpoints)
    replies_drop = Question(write.drop_old_replies, Via.BETWEEN_UNITS)

    history = Question(content.history)
    metas = Question(content.metas)
    known_nodes = Question(content.known_nodes)
    known_metas = Question(content.known_metas)
    known_length = Question(content.chain_length)

    lane = Question(queue.lane)
    lanes = Question(queue.lanes)
    lanes_held = Question(queue.lanes_held)
    lanes_queued = Question(queue.lanes_queued)
    lanes_of = Question(queue.lanes_of)
    lane_counts = Question(queue.lane_counts)
    quarantined = Question(queue.quarantined)


class PeopleQuestions(HasConnections):
    """Organisations, keys, members, what people have registered, and the audit."""

    orgs = Question(people.orgs)
    org = Question(people.org)
    org_create = Question(people.write_org, Via.WRITER)
    org_rename = Question(people.rename_org, Via.WRITER)
    orgs_lost = Question(lost_rows.lost_orgs)
    org_put_back = Question(lost_rows.put_org_back, Via.WRITER)
    org_holds = Question(removal.org_holds)
    org_remove = Question(removal.remove_org, Via.WRITER)
    orgs_removed = Question(removal.removed_orgs)
    orgs_erasing = Question(removal.orgs_erasing)
    key_by_digest = Question(people.caller_by_digest, Via.KEYS)
    keys = Question(people.keys)
    key_by_id = Question(people.key_by_id)
    key_put = Question(people.write_key, Via.WRITER)
    secret = Question(people.keep_secret, Via.WRITER)
    users = Question(people.users)
    members = Question(people.members)
    members_named = Question(people.members_named)
    member_known = Question(people.member_known)
    link_by_digest = Question(people.link_by_digest)
    sign_in_links = Question(people.links)
    sessions = Question(people.sessions)
    sessions_seen = Question(people.note_seen, Via.BETWEEN_UNITS)
    signed_out_drop = Question(people.drop_old, Via.BETWEEN_UNITS)

    persona = Question(registry.persona)
    personas = Question(registry.personas)
    route = Question(registry.route)
    routes = Question(registry.routes)

    audit = Question(entries.page)
    audit_chain = Question(entries.chain)
    audit_head = Question(entries.head)


class StateQuestions(HasConnections):
    """Budgets, prices, the inbox, rules, alerts and deliveries."""

    budget = Question(money.budget)
    budgets = Question(money.budgets)
    budgets_pausing = Question(money.budgets_pausing)
    reservations = Question(money.reservations)
    price = Question(money.price)
    prices = Question(money.prices)

    approvals = Question(approval_queries.approvals)
    approval = Question(approval_queries.approval)
    checkpoints_undecided = Question(approval_queries.checkpoints_undecided)
    spent_links_drop = Question(approval_queries.drop_spent_links, Via.BETWEEN_UNITS)

    alert_rule = Question(told.rule)
    alert_rules = Question(told.rules)
    alert_rules_timed = Question(told.rules_timed)
    alert_window = Question(told.windows_of)
    alerts_open = Question(told.alerts_open)
    alerts_open_of = Question(told.alerts_open_of)
    alerts_unwatched = Question(told.alerts_unwatched)
    alerts_newest = Question(told.alerts_newest)
    alert = Question(told.alert)
    alerts = Question(told.alerts)
    alerts_since = Question(told.alerts_since)
    delivery = Question(told.delivery)
    deliveries = Question(told.deliveries)
    deliveries_waiting = Question(told.deliveries_waiting)
    bodies_waiting = Question(told.bodies_waiting)
    deliveries_due = Question(told.deliveries_due)
    alerts_drop = Question(told.drop_old, Via.BETWEEN_UNITS)


class UpkeepQuestions(HasConnections):
    """Retention, verification, forwarding, and what the whole store holds."""

    policies_of = Question(policies.policies_of)
    policies_all = Question(policies.policies_all)
    runs_held = Question(policies.runs_held)
    erasing_next = Question(policies.erasing_next)
    held_bytes = Question(policies.held_bytes)
    content_bytes = Question(policies.content_bytes)
    content_end = Question(erasure.content_end)
    gives_back = Question(erasure.gives_back)
    age_kept = Question(policies.age_kept)
    age_confirmed = Question(policies.age_confirmed)
    age_keep = Question(policies.age_keep, Via.BETWEEN_UNITS)
    unwiped = Question(policies.unwiped)
    wiped = Question(policies.wiped, Via.BETWEEN_UNITS)
    wipe = Question(erasure.wipe, Via.APART)

    forwarding_begin = Question(forwarding.forwarding_begin, Via.BETWEEN_UNITS)
    forwarding_waits = Question(forwarding.forwarding_waits)
    forwarding_keep = Question(forwarding.forwarding_keep, Via.BETWEEN_UNITS)

    rows = Question(verification.all_rows)
    structure_faults = Question(verification.structure_faults)
    content = Question(verification.content_page)
    stock = Question(verification.stock)
