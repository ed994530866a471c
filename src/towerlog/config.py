"""Settings: one table of name, default and meaning; it feeds `--help`, the docs and the environment.

Order: defaults < TOML file < `TOWERLOG_*` (or `TOWERLOG_*_FILE`) < flags. Only `server`, `storage`, `parts`
and `cli` read this.
"""

from __future__ import annotations

import dataclasses
import difflib
import errno
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. The meaning of each stands in `MEANINGS`."""

    host: str = "127.0.0.1"
    port: int = 8700
    data_dir: str = ""
    database_url: str = ""
    wake: str = ""
    workers: int = 1
    bootstrap_key: str = ""
    public_url: str = ""
    steps_rate_per_minute: int = 200
    lanes_rate_per_minute: int = 600
    otlp_rate_per_minute: int = 6000
    lanes_min_lease_seconds: int = 60
    cancel_deadline_seconds: int = 30
    stalled_after_seconds: int = 900
    silent_after_seconds: int = 900
    lost_after_seconds: int = 86_400
    max_body_bytes: int = 16 * 1024 * 1024
    max_event_bytes: int = 4 * 1024 * 1024
    max_depth: int = 128
    max_in_flight_bytes: int = 64 * 1024 * 1024
    disk_guard_mib: int = -1
    max_queue: int = 2048
    max_streams: int = 12_000
    max_streams_per_key: int = 100
    max_streams_per_org: int = 1000
    max_connections_per_address: int = 256
    max_rules_per_org: int = 200
    max_rules_per_key: int = 150
    max_budgets_per_org: int = 200
    max_budgets_per_key: int = 150
    max_prices_per_org: int = 2000
    max_prices_per_key: int = 1500
    keep_alive_seconds: int = 75
    credits_per_dollar: int = 1000
    cors_origins: str = ""
    push_app_key: str = "towerlog"
    push_secret: str = ""
    trusted_proxies: str = ""
    allowed_hosts: str = ""
    egress_allow: str = ""
    smtp_url: str = ""
    forward_otlp_url: str = ""
    forward_otlp_headers: str = ""
    webhook_retry_seconds: str = "10,60,300"
    organisations_managed_by: str = ""
    session_idle_minutes: int = 3 * 24 * 60
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_default_role: str = ""
    oidc_domain: str = ""
    metrics_public: bool = False
    access_log: bool = False
    log_level: str = "info"


MEANINGS: dict[str, str] = {
    "host": "Address to listen on.",
    "port": "TCP port to listen on.",
    "data_dir": "Folder of the embedded store; default: the XDG data folder, under towerlog/.",
    "database_url": "sqlite:///PATH, or postgresql://USER@HOST/DATABASE; default: towerlog.db in the data folder.",
    "wake": "How nodes of one PostgreSQL hear each other: postgres (the default there), nats://HOST; local: alone.",
    "workers": "Processes that serve the port, each a node; more than one needs PostgreSQL.",
    "bootstrap_key": "Admin key of organisation `default`; read at the first start only; 32-200 characters.",
    "public_url": "Address that users see; default: http://HOST:PORT. If it is set, messages carry answer links.",
    "steps_rate_per_minute": "Requests per minute and key in the steps dialect; 0 = no limit.",
    "lanes_rate_per_minute": "Requests per minute and address in the lanes dialect; 0 = no limit.",
    "otlp_rate_per_minute": "Requests per minute and key in the otlp dialect; 0 = no limit.",
    "lanes_min_lease_seconds": "Shortest lease, in seconds, that a worker may ask for.",
    "cancel_deadline_seconds": "Seconds from a cancel request to a forced end of a run whose agent has not stopped.",
    "stalled_after_seconds": "Seconds with nothing but heartbeats until a running run is `stalled`; 0 = never.",
    "silent_after_seconds": "Seconds without event or heartbeat until a run without a lease is `silent`; 0 = never.",
    "lost_after_seconds": "Seconds without event or heartbeat until a run without a lease is `lost`; 0 = never.",
    "max_body_bytes": "Largest request body in bytes, counted after decompression.",
    "max_event_bytes": "Largest single event in bytes. A checkpoint may be as large as a body.",
    "max_depth": "Deepest nesting of JSON in a request.",
    "max_in_flight_bytes": "Bytes of all request bodies being handled at a time; past it requests get 503.",
    "disk_guard_mib": "MiB of the disk that writes leave free (16 at least), else 503; -1 = 256 MiB or 5 %, if more.",
    "max_queue": "Commands that may wait for the writer; past it requests get 503.",
    "max_streams": "Event streams open at a time; past it requests get 503.",
    "max_streams_per_key": "Event streams of one key open at a time.",
    "max_streams_per_org": "Event streams of one organisation open at a time.",
    "max_connections_per_address": "Connections from one address at a time that have not shown a good key yet.",
    "max_rules_per_org": "Alert rules of one organisation; past it no more are made.",
    "max_rules_per_key": "Alert rules that one key or member may create.",
    "max_budgets_per_org": "Budgets of one organisation; past it no more are made.",
    "max_budgets_per_key": "Budgets that one key or member may create.",
    "max_prices_per_org": "Prices of its own of one organisation; past it no more are made.",
    "max_prices_per_key": "Prices that one key or member may create.",
    "keep_alive_seconds": "Seconds until an idle connection is closed; longer than proxies keep theirs (mostly 60).",
    "credits_per_dollar": "Credits per dollar for `credits_used` in the runs dialect, rounded up.",
    "cors_origins": "Origins, comma-separated, whose pages may call this server, as https://app.example.com; * = any.",
    "push_app_key": "The key of the application that clients of live push name.",
    "push_secret": "What signs channels of live push; 32-200 characters; default: made at the first start and kept.",
    "trusted_proxies": "Addresses of proxies, comma-separated, whose X-Forwarded-For is used.",
    "allowed_hosts": "Host names, comma-separated, that requests may name; default: any, on loopback only local ones.",
    "egress_allow": "Hosts and networks that webhooks may reach beside public ones.",
    "smtp_url": "Mail server for alerts, as smtps://USER:PASSWORD@HOST?from=ADDRESS; empty: no mail is sent.",
    "forward_otlp_url": "Collector of OpenTelemetry to which ended runs are sent, as http://HOST:4318; empty: none.",
    "forward_otlp_headers": "Headers for it, as name=value,name=value with percent-encoded values.",
    "webhook_retry_seconds": "Seconds until each further attempt to deliver a message of an alert.",
    "organisations_managed_by": "Organisation whose administrators manage (make, rename, remove) all; empty: nobody.",
    "session_idle_minutes": "Minutes after which a sign-in to the dashboard ends that no page or request has used.",
    "oidc_issuer": "Identity provider by which members may sign in (OpenID Connect): its issuer, letter for letter.",
    "oidc_client_id": "The name of this server as a client of the identity provider.",
    "oidc_client_secret": "Its secret there; empty for a public client.",
    "oidc_default_role": "viewer or operator: role of people who are no members yet; empty: they do not get in.",
    "oidc_domain": "Domain of the e-mail addresses of people who get that role.",
    "metrics_public": "Whether /metrics answers callers on other machines without a key.",
    "access_log": "Whether each request is logged: method, path, status, milliseconds, address, key.",
    "log_level": "debug, info, warning or error.",
}

SECRETS = ("bootstrap_key", "push_secret", "wake", "smtp_url", "oidc_client_secret", "forward_otlp_headers")
"""Settings whose value is nobody's business: no message repeats one."""
LOG_LEVELS, _ANY = ("debug", "info", "warning", "error"), 1 << 31
# `_ANY` only keeps numbers within what every timer and counter can take.
BOUNDS: dict[str, tuple[int, int]] = {
    "port": (0, 65535),
    "workers": (1, 64),
    **dict.fromkeys(("steps_rate_per_minute", "lanes_rate_per_minute", "otlp_rate_per_minute"), (0, _ANY)),
    "lanes_min_lease_seconds": (1, 3600),
    "cancel_deadline_seconds": (0, _ANY),
    "stalled_after_seconds": (0, _ANY),
    "silent_after_seconds": (0, _ANY),
    "lost_after_seconds": (0, _ANY),
    "max_body_bytes": (1024, _ANY),
    "max_event_bytes": (1024, _ANY),
    "max_depth": (1, 512),
    "max_in_flight_bytes": (1024, 1 << 40),
    "disk_guard_mib": (-1, _ANY),
    "max_queue": (1, 1_000_000),
    "max_streams": (0, 1_000_000),
    "max_streams_per_key": (0, 1_000_000),
    "max_streams_per_org": (0, 1_000_000),
    "max_connections_per_address": (1, 1_000_000),
    **dict.fromkeys(("max_rules_per_org", "max_rules_per_key", "max_budgets_per_org", "max_budgets_per_key"), (0, 200)),
    **dict.fromkeys(("max_prices_per_org", "max_prices_per_key"), (0, 2000)),
    "session_idle_minutes": (5, 20_160),
    "keep_alive_seconds": (1, 86_400),
    "credits_per_dollar": (0, 1_000_000_000),
}
"""Smallest and largest value of each number, both included."""
MAX_RETRIES, MAX_RETRY_SECONDS = 10, 86_400
"""Further attempts that `webhook_retry_seconds` may name, and the longest pause before one."""
MIN_KEY_VARIETY = 10
"""Different characters of a bootstrap key; 64 random hexadecimal digits nearly always have more."""
PREFIX = "TOWERLOG_"

_DEFAULTS = Settings()
_KINDS: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#]+", re.ASCII)
_APP_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
CLIENT_NAMES = frozenset({"URL", "API_KEY"})
"""Variables that clients read, without the prefix; they are no settings of the server."""


class BadSetting(Exception):
    """A setting has a wrong value; the message names the setting and its source."""


class BadFlag(BadSetting):
    """The wrong value is that of a flag: the command line is wrong."""


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
    checks: Mapping[str, Callable[[str], object]] = MappingProxyType({}),
) -> Settings:
    """Settings from all sources. Raises BadSetting naming the source and the setting.

    `checks`: setting → who reads its text and raises ValueError in words, where that is no business of this module.
    """
    given = {} if file is None else {name: (str(file), value) for name, value in _from_file(file).items()}
    given |= _from_environment(environ)
    given |= {name: (_flag(name), value) for name, value in (flags or {}).items() if value is not None}
    settings = Settings(**_typed(given))
    for name, words in (*_faults(settings), *_refusals(settings, checks)):
        raise _refused(given[name][0], name, words)
    return _with_folder(settings, environ)


def _refused(source: str, name: str, words: str) -> BadSetting:
    """What to raise for the value of a flag, a variable or a line of a file."""
    if source == _flag(name):
        return BadFlag(f"{source} {words}" if words.startswith("must ") else f"{source}: {words}")
    return BadSetting(f"{source}: {name}: {words}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _typed(given: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """Values of their settings' types. Raises BadSetting naming the source of the first that is not."""
    values: dict[str, Any] = {}
    for name, (source, value) in given.items():
        kind = type(getattr(_DEFAULTS, name))
        typed = _value_of(kind, value)
        if typed is None:
            shown = "" if name in SECRETS else f", not {value!r}"
            raise _refused(source, name, f"must be {_KINDS[kind]}{shown}")
        values[name] = typed
    return values


def _value_of(kind: type, value: object) -> object:
    """The value, of its setting's type; None when it cannot be. Variables of the environment are text."""
    if type(value) is kind:
        return value
    if not isinstance(value, str):
        return None
    if kind is bool:
        return _BOOLEANS.get(value.lower())
    return int(value) if _INTEGER.fullmatch(value) else None


def retry_seconds(settings: Settings) -> tuple[int, ...]:
    """Seconds before each further attempt of a delivery. Raises ValueError in words for anything else."""
    parts = [part.strip() for part in settings.webhook_retry_seconds.split(",")]
    seconds = tuple(int(part) for part in parts if _INTEGER.fullmatch(part))
    well = len(seconds) == len(parts) <= MAX_RETRIES
    if not well or not all(1 <= one <= MAX_RETRY_SECONDS for one in seconds):
        words = f"must be 1 to {MAX_RETRIES} numbers of seconds, each from 1 to {MAX_RETRY_SECONDS}"
        raise ValueError(f"{words}, separated by commas")
    return seconds


SHARED = ("postgresql://", "postgres://")
"""How the address of a database begins that other processes write as well."""


def is_shared(settings: Settings) -> bool:
    """Whether the store is a database that other processes write as well, and no file."""
    return settings.database_url.startswith(SHARED)


def database_path(settings: Settings) -> Path:
    """The SQLite file that the settings name; of a shared database what files in the data folder are named for."""
    if is_shared(settings):
        return Path(settings.data_dir) / "postgres"
    if settings.database_url:
        return Path(settings.database_url.removeprefix("sqlite:///"))
    return Path(settings.data_dir) / "towerlog.db"


def existing_database(settings: Settings) -> Path:
    """The database's path. Raises FileNotFoundError where there is none: to look must not make one."""
    path = database_path(settings)
    if not path.exists() and not is_shared(settings):
        words = "no store here; name the data folder with --data-dir or TOWERLOG_DATA_DIR"
        raise FileNotFoundError(errno.ENOENT, words, str(path))
    return path


def _from_file(file: Path) -> dict[str, Any]:
    values = tomllib.loads(file.read_text())
    unknown = sorted(set(values) - set(MEANINGS))
    if unknown:
        raise BadSetting(f"{file}: unknown setting {unknown[0]!r}{_meant(unknown[0], MEANINGS)}")
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    values: dict[str, tuple[str, Any]] = {}
    for name in MEANINGS:
        variable = PREFIX + name.upper()
        # An empty variable counts as not set: compose files and unit files cannot leave one out.
        if environ.get(variable):
            values[name] = (variable, environ[variable])
        elif environ.get(variable + "_FILE"):
            values[name] = (variable + "_FILE", _read_secret(variable + "_FILE", environ[variable + "_FILE"]))
    return values


def doubts(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What deserves a warning, in words: variables that look like settings and are none, secrets that all can read."""
    names = {name.upper() for name in MEANINGS}
    names |= {f"{name}_FILE" for name in names} | CLIENT_NAMES
    found = list(_open_secret(environ))
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in names:
            found.append(f"{variable} is set, but there is no such setting{_meant(name, names, PREFIX)}")
    return found


def _meant(name: str, names: Iterable[str], prefix: str = "") -> str:
    """The one of these names that was probably meant, in brackets."""
    begun = sorted(one for one in names if one.startswith(f"{name}_"))
    near = difflib.get_close_matches(name, sorted(names), 1, 0.75) or begun
    return f" (did you mean {prefix}{near[0]}?)" if near else ""


def _open_secret(environ: Mapping[str, str]) -> Iterator[str]:
    """Whether others can read the files of the secrets among the settings. No error: some mount them like that."""
    for name in SECRETS:
        variable = f"{PREFIX}{name.upper()}_FILE"
        path = environ.get(variable)
        if path and os.path.exists(path) and os.stat(path).st_mode & stat.S_IROTH:
            yield f"{variable}: {path}: every user of this machine can read this secret; `chmod 600` it"


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise BadSetting(f"{variable}: {path}: {reason}") from None


def _faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings with a value that cannot be, and what is wrong with it."""
    if settings.bootstrap_key and not 32 <= len(settings.bootstrap_key) <= 200:
        yield "bootstrap_key", "must have 32 to 200 characters"
    elif settings.bootstrap_key and _is_guessable(settings.bootstrap_key):
        words = f"must have {MIN_KEY_VARIETY} different characters and not repeat itself"
        yield "bootstrap_key", f"{words}; take one from `openssl rand -hex 32`"
    if settings.push_secret and not 32 <= len(settings.push_secret) <= 200:
        yield "push_secret", "must have 32 to 200 characters"
    if not _APP_KEY.fullmatch(settings.push_app_key):
        yield "push_app_key", "must be 1 to 100 letters, digits, - and _"
    if settings.database_url and not settings.database_url.startswith(("sqlite:///", *SHARED)):
        yield "database_url", "only sqlite:///PATH and postgresql://… are known"
    if settings.log_level not in LOG_LEVELS:
        yield "log_level", f"must be one of {', '.join(LOG_LEVELS)}"
    for origin in filter(None, (origin.strip() for origin in settings.cors_origins.split(","))):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield "cors_origins", f"{origin!r} is not an origin; write scheme://host or scheme://host:port"
    try:
        retry_seconds(settings)
    except ValueError as error:
        yield "webhook_retry_seconds", str(error)
    yield from _provider_faults(settings)
    for name, (lowest, highest) in BOUNDS.items():
        if not lowest <= getattr(settings, name) <= highest:
            yield name, f"must be between {lowest} and {highest}"


def _provider_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings of the identity provider."""
    if settings.oidc_issuer and not settings.oidc_client_id:
        yield "oidc_issuer", "needs oidc_client_id beside it"
    if settings.oidc_default_role not in ("", "viewer", "operator"):
        yield "oidc_default_role", "must be viewer or operator"
    if settings.oidc_default_role and not settings.oidc_domain:
        yield "oidc_default_role", "needs oidc_domain beside it: else anybody whom the provider knows would get in"


def _refusals(settings: Settings, checks: Mapping[str, Callable[[str], object]]) -> Iterator[tuple[str, str]]:
    for name, check in checks.items():
        try:
            if text := getattr(settings, name):
                check(text)
        except ValueError as error:
            yield name, str(error)


def _is_guessable(key: str) -> bool:
    """Whether it is of few characters, or the same few over and over. No check finds every bad key."""
    return len(set(key)) < MIN_KEY_VARIETY or key in (key * 2)[1:-1]


def _with_folder(settings: Settings, environ: Mapping[str, str]) -> Settings:
    if settings.data_dir:
        return settings
    # The XDG base directory specification.
    base = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "."), ".local", "share")
    is_named = settings.database_url and not is_shared(settings)
    folder = database_path(settings).parent if is_named else Path(base) / "towerlog"
    return dataclasses.replace(settings, data_dir=str(folder))
