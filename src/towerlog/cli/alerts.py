"""`towerlog alerts`: rules, the alerts that have come of them, and the messages that tell of those."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import islice
from typing import Any

import click

from towerlog.cli.connect import with_client
from towerlog.cli.escapes import visible
from towerlog.cli.formatting import counted, limit_option, point_in_time
from towerlog.cli.groups import ListGroup
from towerlog.cli.output import answer, say, tell
from towerlog.cli.run_ids import one_named
from towerlog.cli.tables import Column, View, moment, show_table, with_view
from towerlog.errors import NotFound
from towerlog.sdk.api.alerts.shapes import Alert, AlertDelivery, AlertRule
from towerlog.sdk.api.client import Client

TRIGGERS = (
    "error",
    "cost_threshold",
    "waiting_too_long",
    "budget",
    "burn_rate",
    "stalled",
    "lost",
    "loop",
    "failure_rate",
    "queue_wait",
    "unserved",
)
CHANNELS = ("webhook", "slack", "discord", "teams", "email")
RULES = (
    Column("RULE ID", "id", rank=3),
    Column("NAME"),
    Column("TRIGGER"),
    Column("OF", rank=1),
    Column("STATE"),
    Column("OPEN", "number", rank=2),
    Column("ON", rank=4),
    Column("TELLS", rank=5),
)
ALERTS = (
    Column("ALERT ID", "id", rank=3),
    Column("STATE"),
    Column("RULE", rank=2, least=12),
    Column("AGENT", rank=4),
    Column("WHAT", least=48),
    Column("SINCE", "time", rank=1),
)
DELIVERIES = (
    Column("DELIVERY ID", "id", rank=3),
    Column("STATE"),
    Column("TELLS", rank=5),
    Column("BY", rank=4),
    Column("TO", rank=1, least=16),
    Column("TRIES", "number", rank=6),
    Column("LAST ERROR", least=36),
    Column("CREATED", "time", rank=2),
)
FIRINGS = (Column("AT", "time"), Column("AGENT", rank=1), Column("WHAT"), Column("RUN ID", "id", rank=2))
_FIRING = ("at", "agent_name", "message", "run_id")


_FIGURES = (
    click.option(
        "--amount", type=click.FloatRange(0, min_open=True), help="Dollars: of a run, or of all in the window."
    ),
    click.option(
        "--minutes", type=click.FloatRange(0, min_open=True), help="How long a run may wait, queue, or stall."
    ),
    click.option("--times", type=click.IntRange(2), help="How often the same call; or how many runs must have ended."),
    click.option(
        "--fraction", type=click.FloatRange(0, 1, min_open=True), help="Of the runs that ended, or of a budget."
    ),
    click.option("--window", type=click.IntRange(1), help="Minutes that a rate looks back."),
    click.option("--agent", help="Only runs of this agent."),
    click.option("--thread", help="Only runs of this thread."),
    click.option("--run", help="Only this run and all runs below it."),
    click.option("--label", help="Only runs with this label, as name=value or a name."),
    click.option("--persona", help="Only runs of this persona."),
    click.option("--cooldown", type=click.FloatRange(0), help="Minutes without a further alert about the same agent."),
)


def _with_figures(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of what a rule looks at."""
    return reduce(lambda decorated, option: option(decorated), reversed(_FIGURES), command)


@click.group(cls=ListGroup)
def alerts() -> None:
    """Alerts: list them, set rules, and resend their messages."""


@alerts.command("ls")
@with_client
@limit_option
@click.option("--rule", help="Only of this rule, given by its name or id.")
@click.option("--open", "is_open", is_flag=True, help="Only open ones.")
@with_view
def list_alerts(client: Client, limit: int, rule: str | None, is_open: bool, view: View, as_json: bool) -> None:
    """Lists alerts, newest first."""
    filters = {"rule_id": None if rule is None else _known(client, rule).rule_id, "state": "ALERT" if is_open else None}
    found = list(islice(client.list_alerts(**filters), limit))
    answer(
        as_json,
        {"data": [alert.raw for alert in found]},
        lambda: show_table(ALERTS, [_alert_row(alert) for alert in found], empty="No alerts.", view=view),
    )


@alerts.command("rules")
@with_client
@limit_option
@with_view
def list_rules(client: Client, limit: int, view: View, as_json: bool) -> None:
    """Lists rules, newest first, with their state."""
    found = list(islice(client.list_alert_rules(), limit))
    answer(
        as_json,
        {"data": [rule.raw for rule in found]},
        lambda: show_table(RULES, [_rule_row(rule) for rule in found], empty="No alert rules.", view=view),
    )


@alerts.command("set")
@with_client
@click.argument("rule")
@click.option("--trigger", type=click.Choice(TRIGGERS), help="What it watches; needed to make one.")
@_with_figures
@click.option("--webhook", multiple=True, help="Tell this URL, signed.")
@click.option("--slack", multiple=True, help="Tell this webhook of Slack.")
@click.option("--discord", multiple=True, help="Tell this webhook of Discord.")
@click.option("--teams", multiple=True, help="Tell this webhook of Microsoft Teams.")
@click.option("--email", multiple=True, help="Tell this address.")
@click.option("--renotify", type=click.FloatRange(0), help="Minutes until people are told again; 0: never.")
@click.option("--act", type=click.Choice(("pause", "cancel")), help="What to ask of the run.")
def set_rule(client: Client, rule: str, trigger: str | None, as_json: bool, **given: Any) -> None:
    """Creates a rule of this name, or changes the one with this name or id.

    Without --agent, --thread, --run, --label or --persona a new one looks at the whole organisation.
    """
    members = _members(given)
    known = _find(client, rule)
    if known is not None:
        if trigger not in (None, known.trigger):
            raise click.UsageError("a rule has one trigger; remove it and make another one")
        done = client.change_alert_rule(known.rule_id, **members)
    elif trigger is None:
        raise click.UsageError(f"there is no alert rule {rule!r} yet: say what it watches with --trigger")
    else:
        done = client.create_alert_rule(rule, trigger, **members)
    answer(as_json, dict(done.raw), lambda: _say_rule(done))


@alerts.command("preview")
@with_client
@click.argument("trigger", type=click.Choice(TRIGGERS))
@_with_figures
@click.option("--since", callback=point_in_time, help="The beginning: RFC 3339, or an age; default: a week ago.")
@click.option(
    "--until", callback=point_in_time, help="The end: RFC 3339, or an age such as 90m, 24h, 7d; default: now."
)
@with_view
def preview(client: Client, trigger: str, view: View, as_json: bool, **given: Any) -> None:
    """Shows when such a rule would have fired over stored history. Nothing is stored or sent."""
    span = {name: value for name in ("since", "until") if (value := given.pop(name)) is not None}
    done = client.preview_alert_rule(trigger, **_members(given), **span)
    rows = [tuple(None if one.get(name) is None else str(one[name]) for name in _FIRING) for one in done.fired]

    def tell() -> None:
        if rows:
            show_table(FIRINGS, rows, empty="", view=view)
        say(_preview_words(len(rows), done.runs, done.suppressed, whole=done.whole))

    answer(as_json, dict(done.raw), tell)


@alerts.command("on")
@with_client
@click.argument("rule")
def switch_on(client: Client, rule: str, as_json: bool) -> None:
    """Switches a rule on."""
    done = client.change_alert_rule(_known(client, rule).rule_id, enabled=True)
    answer(as_json, dict(done.raw), lambda: _say_rule(done))


@alerts.command("off")
@with_client
@click.argument("rule")
def switch_off(client: Client, rule: str, as_json: bool) -> None:
    """Switches a rule off."""
    done = client.change_alert_rule(_known(client, rule).rule_id, enabled=False)
    answer(as_json, dict(done.raw), lambda: _say_rule(done))


@alerts.command("rm")
@with_client
@click.argument("rule")
def remove_rule(client: Client, rule: str, as_json: bool) -> None:
    """Removes a rule, given by its name or id. Its alerts stay."""
    done = client.delete_alert_rule(_known(client, rule).rule_id)
    answer(as_json, dict(done.raw), lambda: say(f"Alert rule {visible(done.name)} was removed."))


@alerts.command("ack")
@with_client
@click.argument("alert_id")
def acknowledge(client: Client, alert_id: str, as_json: bool) -> None:
    """Acknowledges an alert: no more reminders of it are sent."""
    done = client.acknowledge_alert(alert_id)
    answer(as_json, dict(done.raw), lambda: tell(f"Alert {done.alert_id} is acknowledged, and {done.state}."))


@alerts.command("mute")
@with_client
@click.argument("alert_id")
@click.option("--minutes", default=60.0, show_default=True, type=click.FloatRange(0), help="For how long; 0 ends it.")
def mute(client: Client, alert_id: str, minutes: float, as_json: bool) -> None:
    """Mutes an alert, and further alerts of its rule about the same subject."""
    done = client.mute_alert(alert_id, minutes)
    until = "is not muted" if done.muted_until is None else f"is muted until {moment(done.muted_until, utc=False)}"
    answer(as_json, dict(done.raw), lambda: tell(f"Alert {done.alert_id} {until}."))


@alerts.command("deliveries")
@with_client
@limit_option
@click.option("--state", type=click.Choice(("pending", "delivered", "failed")), help="Only those in this state.")
@with_view
def list_deliveries(client: Client, limit: int, state: str | None, view: View, as_json: bool) -> None:
    """Lists messages about alerts, newest first, and whether they arrived."""
    found = list(islice(client.list_deliveries(state=state), limit))
    answer(
        as_json,
        {"data": [one.raw for one in found]},
        lambda: show_table(DELIVERIES, [_delivery_row(one) for one in found], empty="No messages.", view=view),
    )


@alerts.command("redeliver")
@with_client
@click.argument("delivery_id", required=False)
@click.option("--failed", is_flag=True, help="All that were given up.")
def redeliver(client: Client, delivery_id: str | None, failed: bool, as_json: bool) -> None:
    """Sends a message again, or with --failed all that were given up; each keeps its id."""
    if failed == (delivery_id is not None):
        raise click.UsageError("name a delivery, or say --failed")
    if delivery_id is not None:
        done = client.redeliver(delivery_id)
        answer(as_json, dict(done.raw), lambda: tell(f"Message {done.delivery_id} is sent anew."))
        return
    count, cursor = 0, None
    while True:
        sent = client.redeliver_from(cursor, 1000)
        count, cursor = count + sent.redelivered, sent.next
        if cursor is None:
            break
    answer(as_json, {"redelivered": count}, lambda: say(f"Messages that are sent anew: {count}."))


def _preview_words(fired: int, runs: int, suppressed: int, *, whole: bool) -> str:
    times = "not have fired" if not fired else f"have fired {'once' if fired == 1 else f'{fired:,} times'}"
    quiet = f"; the cool-down would have kept quiet {suppressed:,} more" if suppressed else ""
    cut = "" if whole else "; there is more history than was looked at"
    return f"It would {times}, in {counted(runs, 'run')}{quiet}{cut}."


def _members(given: dict[str, Any]) -> dict[str, Any]:
    """The members of a rule that options give."""
    channels = [{"type": kind, "target": target} for kind in CHANNELS for target in given.pop(kind, ())]
    config = {"amount": "amount_usd", "minutes": "minutes", "times": "times", "fraction": "fraction"}
    config |= {"window": "window_minutes"}
    scope = {"agent": "agent", "thread": "thread_id", "run": "run_id", "label": "label", "persona": "persona"}
    found: dict[str, Any] = {
        "config": {member: value for option, member in config.items() if (value := given.pop(option)) is not None},
        "scope": {member: value for option, member in scope.items() if (value := given.pop(option)) is not None},
        "channels": channels,
        "cooldown_minutes": given.pop("cooldown"),
        "renotify_minutes": given.pop("renotify", None),
        "act": given.pop("act", None),
    }
    return {name: value for name, value in found.items() if value not in (None, {}, [])}


def _find(client: Client, wanted: str) -> AlertRule | None:
    """The rule with this id or name, else the one whose id begins so; None for none."""
    found = {rule.rule_id: rule for rule in client.list_alert_rules()}
    rule_id = one_named(wanted, {one: rule.name for one, rule in found.items()}, "alert rule")
    return None if rule_id is None else found[rule_id]


def _known(client: Client, wanted: str) -> AlertRule:
    rule = _find(client, wanted)
    if rule is None:
        raise NotFound("rule", f"There is no alert rule {wanted!r}; `towerlog alerts rules` lists them.")
    return rule


def _say_rule(rule: AlertRule) -> None:
    state = rule.state if rule.enabled else "off"
    say(f"Alert rule {visible(rule.name)}: on {rule.trigger}, {state}.")
    for warning in rule.warnings:
        say(f"  warning: {visible(str(warning.get('message')))}")
    for channel in rule.channels:
        if channel.get("secret"):
            say(
                f"  {visible(str(channel.get('target')))} is signed with {visible(str(channel['secret']))}: shown once."
            )


def _of(rule: AlertRule) -> str:
    shown = [f"{name.removesuffix('_id')} {value}" for name, value in rule.scope.items() if name != "organisation"]
    return ", ".join(shown) or "organisation"


def _rule_row(rule: AlertRule) -> tuple[str | None, ...]:
    told = ", ".join(str(channel.get("type")) for channel in rule.channels) or None
    on = "yes" if rule.enabled else "no"
    return (rule.rule_id, rule.name, rule.trigger, _of(rule), rule.state, str(rule.open_alerts), on, told)


def _alert_row(alert: Alert) -> tuple[str | None, ...]:
    return (alert.alert_id, alert.state, alert.rule_name, alert.agent_name, alert.message, alert.fired_at)


def _delivery_row(one: AlertDelivery) -> tuple[str | None, ...]:
    last = one.attempts[-1] if one.attempts else {}
    error = last.get("error")
    words = None if error is None else str(error)
    kind = one.kind.removeprefix("alert.")
    return (one.delivery_id, one.state, kind, one.channel, one.target, str(len(one.attempts)), words, one.created_at)
