"""What the engine and the transport need of the settings, each in its own words."""

from __future__ import annotations

import resource

from towerlog.asgi.app import Config
from towerlog.asgi.pages.sign_in.provider import ProviderConfig, WayOut
from towerlog.config import Settings, retry_seconds
from towerlog.dialects.base import DialectSettings
from towerlog.engine.settings import EngineSettings
from towerlog.model.answer_link import LinkAddress
from towerlog.model.liveness import Thresholds
from towerlog.model.quotas import Quota, Quotas

RATES = ("steps_rate_per_minute", "lanes_rate_per_minute", "otlp_rate_per_minute")
"""The settings of dialects' own rates."""
DESCRIPTORS_BESIDE_STREAMS = 1000
_DESCRIPTORS_OF_STORE = 100
"""Files of the store and of the process itself, kept free of connections."""


def engine_settings(settings: Settings, secret: str) -> EngineSettings:
    """What the engine needs of the settings. `secret`: what the store's servers sign with."""
    thresholds = Thresholds(
        stalled_ms=settings.stalled_after_seconds * 1000,
        silent_ms=settings.silent_after_seconds * 1000,
        lost_ms=settings.lost_after_seconds * 1000,
    )
    links = LinkAddress(settings.public_url.rstrip("/"), secret) if settings.public_url else None
    pauses = retry_seconds(settings)
    return EngineSettings(
        max_queue=settings.max_queue,
        cancel_deadline_seconds=settings.cancel_deadline_seconds,
        thresholds=thresholds,
        delivery_pauses=pauses,
        links=links,
        quotas=quotas_of(settings),
    )


def quotas_of(settings: Settings) -> Quotas:
    """How many of what people make an organisation, and a key of it, may have."""
    return Quotas(
        rules=Quota(settings.max_rules_per_org, settings.max_rules_per_key),
        budgets=Quota(settings.max_budgets_per_org, settings.max_budgets_per_key),
        prices=Quota(settings.max_prices_per_org, settings.max_prices_per_key),
    )


def transport_config(settings: Settings) -> Config:
    """What the transport needs of the settings."""
    return Config(
        host=settings.host,
        public_url=settings.public_url,
        allowed_hosts=settings.allowed_hosts,
        trusted_proxies=settings.trusted_proxies,
        cors_origins=settings.cors_origins,
        push_app_key=settings.push_app_key,
        push_secret=settings.push_secret,
        metrics_public=settings.metrics_public,
        access_log=settings.access_log,
        max_body_bytes=settings.max_body_bytes,
        max_in_flight_bytes=settings.max_in_flight_bytes,
        max_streams=settings.max_streams,
        max_streams_per_key=settings.max_streams_per_key,
        max_streams_per_org=settings.max_streams_per_org,
        max_connections=max_connections(settings),
        max_connections_per_address=settings.max_connections_per_address,
        organisations_managed_by=settings.organisations_managed_by,
        session_idle_ms=settings.session_idle_minutes * 60_000,
        rates={name: getattr(settings, name) for name in RATES},
        dialect=DialectSettings(
            min_lease_seconds=settings.lanes_min_lease_seconds,
            max_event_bytes=settings.max_event_bytes,
            max_body_bytes=settings.max_body_bytes,
            max_depth=settings.max_depth,
            credits_per_dollar=settings.credits_per_dollar,
        ),
    )


def max_connections(settings: Settings) -> int:
    """Connections that may be open at a time: as many as there are descriptors for, beside those of the store."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_streams + DESCRIPTORS_BESIDE_STREAMS
    found = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    return max(found - _DESCRIPTORS_OF_STORE, 1)


def provider_of(settings: Settings, way: WayOut) -> ProviderConfig | None:
    """The identity provider that the settings name."""
    if not settings.oidc_issuer:
        return None
    return ProviderConfig(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        default_role=settings.oidc_default_role,
        domain=settings.oidc_domain,
        way=way,
    )
