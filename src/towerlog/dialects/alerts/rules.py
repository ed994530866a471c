"""Alert rules as JSON, for the native API and for the paths of `steps`: what is read, what is shown."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.asked.scopes import scope_members
from towerlog.dialects.base import MAX_ID_CHARS, MAX_LABEL_CHARS, Call
from towerlog.dialects.fields import (
    bounded_text,
    cost_nanos_of,
    decode,
    given_name,
    invalid_field,
    path_uuid,
    text_id,
    time_ms_of,
)
from towerlog.errors import NotFound
from towerlog.model.alert import (
    DEFAULT_WINDOW_MINUTES,
    MAX_MINUTES,
    MAX_TIMES,
    MAX_WINDOW_MINUTES,
    MINUTE_MS,
    AlertAct,
    AlertConfig,
    AlertRule,
    AlertScope,
    AlertState,
    AlertTrigger,
    ChangeRule,
    CreateRule,
    RuleNow,
)
from towerlog.model.alert_channel import (
    MAX_CHANNELS,
    MAX_CHANNELS_BYTES,
    MAX_TARGET_CHARS,
    AlertChannel,
    ChannelSecret,
    ChannelType,
)
from towerlog.model.alert_preview import PreviewRule
from towerlog.model.event import FieldWarning
from towerlog.model.principal import Principal, Scope
from towerlog.model.times import format_ms
from towerlog.model.usage import dollars_json

MIN_WAIT_MS = 1000
Name = Annotated[str, v.said("A name for people.", "failed writers")]
Trigger = Annotated[AlertTrigger, v.said("What the rule watches.", "error")]
Enabled = Annotated[bool, v.said("Whether the rule looks at anything.", True)]
_Minutes = Annotated[float, msgspec.Meta(ge=0, le=MAX_MINUTES)]
Cooldown = Annotated[_Minutes, v.said("So long no further alert about the same agent is opened; 0: each one is.", 10)]
Renotify = Annotated[_Minutes, v.said("While an alert lasts, people are told again after so long; 0: not.", 0)]
Act = Annotated[AlertAct, v.said("What the alert asks of its run; null: nothing.", "pause")]


class RuleScopeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a rule is about: all that is given must hold; nothing, or `organisation`: everything."""

    schema_name: ClassVar[str] = "AlertScope"
    example: ClassVar[dict[str, object]] = {"agent": "writer"}
    organisation: Annotated[bool, v.said("Everything in the organisation.", True)] | UnsetType = UNSET
    agent: Annotated[str, v.said("Runs of the agent of this name.", "writer")] | UnsetType = UNSET
    thread_id: Annotated[str, v.said("Runs of this thread.", "towers")] | UnsetType = UNSET
    run_id: Annotated[str, v.said("This run and all runs below it.", v.UUID, format="uuid")] | UnsetType = UNSET
    label: (
        Annotated[str, v.said("`name=value` or a name: of the labels or the metadata of a run.", "team=search")]
        | UnsetType
    ) = UNSET
    persona: Annotated[str, v.said("Runs of this persona: its key, or key@version.", "editor")] | UnsetType = UNSET


class RuleConfigBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The figures of a trigger; it takes only those that it uses."""

    schema_name: ClassVar[str] = "AlertConfig"
    example: ClassVar[dict[str, object]] = {"minutes": 15}
    amount_usd: (
        Annotated[
            msgspec.Raw,
            v.said(
                "`cost_threshold`: of a run; `burn_rate`: of all in the window; in dollars.", 5, type=["number", "null"]
            ),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    minutes: (
        Annotated[
            Annotated[float, msgspec.Meta(gt=0, le=MAX_MINUTES)],
            v.said("How long a run may wait, be queued, or make no progress.", 15),
        ]
        | None
    ) = None
    times: (
        Annotated[
            Annotated[int, msgspec.Meta(ge=2, le=MAX_TIMES)],
            v.said("`loop`: how often the same call; `failure_rate`: runs that must have ended.", 3),
        ]
        | None
    ) = None
    fraction: (
        Annotated[
            Annotated[float, msgspec.Meta(gt=0, le=1)],
            v.said("`failure_rate`: of the runs that ended; `budget`: of its amount.", 0.5),
        ]
        | None
    ) = None
    window_minutes: (
        Annotated[
            Annotated[int, msgspec.Meta(ge=1, le=MAX_WINDOW_MINUTES)],
            v.said("How far `burn_rate` and `failure_rate` look back.", DEFAULT_WINDOW_MINUTES),
        ]
        | None
    ) = None


class ChannelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way in which people are told."""

    schema_name: ClassVar[str] = "AlertChannel"
    type: Annotated[ChannelType, v.said("How.", "webhook")]
    target: (
        Annotated[
            str,
            v.said(
                "A URL, or an address of mail. A URL is shown whole with the scope `admin` alone, else by its host and "
                "digits of a digest; sent back like that, it stays as it is.",
                "https://hooks.example.com/towerlog",
            ),
        ]
        | None
    ) = None
    secret: (
        Annotated[
            str,
            v.said(
                "Of a webhook: what its messages are signed with. Shown once, when it is made.",
                "whsec_c2VjcmV0IG9mIHRoZSBwYWdlIG9mIGV4YW1wbGVz",
            ),
        ]
        | None
    ) = None


Channels = Annotated[list[ChannelBody], v.said(f"How people are told, at most {MAX_CHANNELS}.")]


class NewRuleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule to make."""

    schema_name: ClassVar[str] = "NewAlertRule"
    name: Name
    trigger: Trigger
    scope: Annotated[RuleScopeBody, v.said("What it is about.")] = RuleScopeBody()
    config: Annotated[RuleConfigBody, v.said("Its figures.")] = RuleConfigBody()
    channels: Channels = []
    enabled: Enabled = True
    cooldown_minutes: Cooldown = 0.0
    renotify_minutes: Renotify = 0.0
    act: Act | None = None


class RuleChangeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a rule; what is left out stays."""

    schema_name: ClassVar[str] = "AlertRuleChange"
    name: Name | UnsetType = UNSET
    scope: Annotated[RuleScopeBody, v.said("What it is about.")] | UnsetType = UNSET
    config: Annotated[RuleConfigBody, v.said("Its figures, all of them.")] | UnsetType = UNSET
    channels: Channels | UnsetType = UNSET
    enabled: Enabled | UnsetType = UNSET
    cooldown_minutes: Cooldown | UnsetType = UNSET
    renotify_minutes: Renotify | UnsetType = UNSET
    act: Act | UnsetType | None = UNSET


class RuleDetail(msgspec.Struct, frozen=True):
    """An alert rule."""

    schema_name: ClassVar[str] = "AlertRule"
    rule_id: v.RuleId
    name: Name
    trigger: Trigger
    scope: Annotated[RuleScopeBody, v.said("What it is about.")]
    config: Annotated[RuleConfigBody, v.said("Its figures.")]
    channels: Channels
    enabled: Enabled
    cooldown_minutes: Cooldown
    renotify_minutes: Renotify
    act: Act | None
    state: Annotated[
        AlertState, v.said("`ALERT` while some alert of it lasts; `NO_DATA`: nothing that could be judged.", "OK")
    ]
    open_alerts: Annotated[int, v.said("How many alerts of it last.", 0)]
    suppressed: Annotated[int, v.said("Alerts that its cool-down has kept from being opened.", 0)]
    created_at: v.CreatedAt
    warnings: Annotated[list[FieldWarning], v.said("Channels by which nobody is ever told, and why.")] = []


class PreviewBody(NewRuleBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule to try on what is stored; its channels are told nothing."""

    schema_name: ClassVar[str] = "AlertRulePreview"
    name: Name = "preview"
    since: v.Since | None = None
    until: v.Until | None = None


_NEW = msgspec.json.Decoder(NewRuleBody)
_PREVIEW = msgspec.json.Decoder(PreviewBody)
_CHANGE = msgspec.json.Decoder(RuleChangeBody)


def decode_create(call: Call) -> CreateRule:
    """A rule to make."""
    return new_rule(decode(_NEW, call.body))


def new_rule(body: NewRuleBody) -> CreateRule:
    """A rule to make, or to try on what is stored."""
    return CreateRule(
        name=given_name(body.name, "name"),
        trigger=body.trigger,
        scope=_scope(body.scope),
        config=_config(body.config),
        channels=_channels(body.channels),
        enabled=body.enabled,
        cooldown_ms=_ms(body.cooldown_minutes),
        renotify_ms=_ms(body.renotify_minutes),
        act=body.act,
    )


def decode_preview(call: Call) -> PreviewRule:
    """A rule to try on what is stored, and the time."""
    body = decode(_PREVIEW, call.body)
    return PreviewRule(new_rule(body), time_ms_of(body.since, "since"), time_ms_of(body.until, "until"))


def decode_change(call: Call) -> ChangeRule:
    """What is to change of a rule."""
    body = decode(_CHANGE, call.body)
    return ChangeRule(
        path_rule(call),
        name=None if body.name is UNSET else given_name(body.name, "name"),
        scope=None if body.scope is UNSET else _scope(body.scope),
        config=None if body.config is UNSET else _config(body.config),
        channels=None if body.channels is UNSET else _channels(body.channels),
        enabled=None if body.enabled is UNSET else body.enabled,
        cooldown_ms=None if body.cooldown_minutes is UNSET else _ms(body.cooldown_minutes),
        renotify_ms=None if body.renotify_minutes is UNSET else _ms(body.renotify_minutes),
        act=body.act if isinstance(body.act, AlertAct) else None,
        acts_no_more=body.act is None,
    )


def path_rule(call: Call) -> str:
    """The rule that a path names. Raises NotFound."""
    return path_uuid(call.path["rule_id"], "rule")


def sees_targets(principal: Principal) -> bool:
    """Whether a caller is shown URLs that whoever has them can post to."""
    return Scope.ADMIN in principal.scopes


def rule_of(view: RuleNow, *, whole: bool) -> RuleDetail:
    """A rule as it is shown; `whole`: see `sees_targets`."""
    rule = view.rule
    return RuleDetail(
        rule_id=rule.rule_id,
        name=rule.name,
        trigger=rule.trigger,
        scope=_scope_shown(rule.scope),
        config=_config_shown(rule.config),
        channels=_channels_shown(rule, view.new_secrets, whole=whole),
        enabled=rule.enabled,
        cooldown_minutes=rule.cooldown_ms / MINUTE_MS,
        renotify_minutes=rule.renotify_ms / MINUTE_MS,
        act=rule.act,
        state=rule.state(view.open_alerts > 0),
        open_alerts=view.open_alerts,
        suppressed=rule.suppressed,
        created_at=format_ms(rule.created_at),
        warnings=view.warnings,
    )


def _scope_shown(scope: AlertScope) -> RuleScopeBody:
    return RuleScopeBody(
        True if scope == AlertScope() else UNSET,
        scope.agent or UNSET,
        scope.thread_id or UNSET,
        scope.run_id or UNSET,
        scope.label or UNSET,
        scope.persona or UNSET,
    )


def _config_shown(config: AlertConfig) -> RuleConfigBody:
    amount = msgspec.UNSET if config.amount_nanos is None else dollars_json(config.amount_nanos)
    minutes = None if config.wait_ms is None else config.wait_ms / MINUTE_MS
    window = None if config.window_ms is None else config.window_ms // MINUTE_MS
    return RuleConfigBody(amount, minutes, config.times, config.fraction, window)


def _channels_shown(rule: AlertRule, new_secrets: dict[str, str], *, whole: bool) -> list[ChannelBody]:
    return [
        ChannelBody(one.type, (one.target if whole else one.shown()) or None, new_secrets.get(one.target))
        for one in rule.channels
    ]


def _scope(body: RuleScopeBody) -> AlertScope:
    named = scope_members(body)
    if body.organisation is False and not named:
        raise invalid_field("scope.organisation", "is false, and nothing else is given")
    if body.organisation is True and named:
        raise invalid_field("scope", "has organisation, which covers everything, beside another scope")
    run_id, thread_id = named.get("run_id"), named.get("thread_id")
    if run_id is not None:
        try:
            run_id = path_uuid(run_id, "run")
        except NotFound:
            raise invalid_field("scope.run_id", "must be a UUID") from None
    return AlertScope(
        agent=agent_asked(named.get("agent"), "scope.agent"),
        thread_id=None if thread_id is None else text_id(thread_id, "scope.thread_id", MAX_ID_CHARS),
        run_id=run_id,
        label=bounded_text(named.get("label"), "scope.label", 2 * MAX_LABEL_CHARS),
        persona=bounded_text(named.get("persona"), "scope.persona", MAX_ID_CHARS),
    )


def _config(body: RuleConfigBody) -> AlertConfig:
    amount = None if body.amount_usd is msgspec.UNSET else cost_nanos_of(body.amount_usd, "config.amount_usd")
    if amount is not None and amount <= 0:
        raise invalid_field("config.amount_usd", "must be more than 0")
    wait_ms = None if body.minutes is None else max(_ms(body.minutes), MIN_WAIT_MS)
    window_ms = None if body.window_minutes is None else body.window_minutes * MINUTE_MS
    return AlertConfig(amount, wait_ms, body.times, body.fraction, window_ms)


def _channels(bodies: list[ChannelBody]) -> tuple[AlertChannel, ...]:
    if len(bodies) > MAX_CHANNELS:
        raise invalid_field("channels", f"has more than {MAX_CHANNELS}")
    found = []
    for index, body in enumerate(bodies):
        target = bounded_text(body.target, f"channels.{index}.target", MAX_TARGET_CHARS) or ""
        secrets = (ChannelSecret(body.secret),) if body.secret else ()
        found.append(AlertChannel(body.type, target, secrets))
    if len(msgspec.json.encode(found)) > MAX_CHANNELS_BYTES:
        raise invalid_field("channels", f"have more than {MAX_CHANNELS_BYTES} bytes together as JSON")
    return tuple(found)


def _ms(minutes: float) -> int:
    return round(minutes * MINUTE_MS)
