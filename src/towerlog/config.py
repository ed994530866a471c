"""Settings: one table of name, default and meaning; it feeds `--help`, the docs and the environment.

Order: defaults < TOML file < `TOWERLOG_*` (or `TOWERLOG_*_FILE`) < flags. Only `server` and `cli` read this.
"""

from __future__ import annotations

import dataclasses
import difflib
import errno
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. The meaning of each stands in `MEANINGS`."""

    host: str = "127.0.0.1"
    port: int = 8700
    data_dir: str = ""
    database_url: str = ""
    bootstrap_key: str = ""
    public_url: str = ""
    steps_rate_per_minute: int = 200
    lanes_rate_per_minute: int = 600
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
    keep_alive_seconds: int = 75
    credits_per_dollar: int = 1000
    cors_origins: str = ""
    trusted_proxies: str = ""
    allowed_hosts: str = ""
    metrics_public: bool = False
    access_log: bool = False
    log_level: str = "info"


MEANINGS: dict[str, str] = {
    "host": "Address to listen on.",
    "port": "TCP port to listen on.",
    "data_dir": "Folder of the embedded store; default: the XDG data folder, under towerlog/.",
    "database_url": "sqlite:///PATH; default: towerlog.db in the data folder.",
    "bootstrap_key": "Admin key of organisation `default`; read at the first start only; 32-200 characters.",
    "public_url": "Address that users see, for links; default: http://HOST:PORT.",
    "steps_rate_per_minute": "Requests per minute and key in the steps dialect; 0 = no limit.",
    "lanes_rate_per_minute": "Requests per minute and address in the lanes dialect; 0 = no limit.",
    "lanes_min_lease_seconds": "Shortest lease, in seconds, that a worker may ask for.",
    "cancel_deadline_seconds": "Seconds from a cancel request to a forced end of a run whose agent has not stopped.",
    "stalled_after_seconds": "Seconds with nothing but heartbeats until a running run is `stalled`; 0 = never.",
    "silent_after_seconds": "Seconds without event or heartbeat until a run without a lease is `silent`; 0 = never.",
    "lost_after_seconds": "Seconds without event or heartbeat until a run without a lease is `lost`; 0 = never.",
    "max_body_bytes": "Largest request body in bytes, counted after decompression.",
    "max_event_bytes": "Largest single event in bytes. A checkpoint may be as large as a body.",
    "max_depth": "Deepest nesting of JSON in a request.",
    "max_in_flight_bytes": "Bytes of all request bodies being handled at a time; past it requests get 503.",
    "disk_guard_mib": "MiB of the disk that writes leave free, else 503; -1 = 256 MiB or 5 %, whichever is more.",
    "max_queue": "Commands that may wait for the writer; past it requests get 503.",
    "max_streams": "Event streams open at a time; past it requests get 503.",
    "max_streams_per_key": "The same of one key.",
    "max_streams_per_org": "The same of one organisation.",
    "max_connections_per_address": "Connections from one address at a time that have not shown a good key yet.",
    "keep_alive_seconds": "Seconds until an idle connection is closed; longer than proxies keep theirs (mostly 60).",
    "credits_per_dollar": "Credits per dollar for `credits_used` in the runs dialect, rounded up.",
    "cors_origins": "Origins, comma-separated, whose pages may call this server, as https://app.example.com; * = any.",
    "trusted_proxies": "Addresses of proxies, comma-separated, whose X-Forwarded-For is used.",
    "allowed_hosts": "Host names, comma-separated, that requests may name; default: any, on loopback only local ones.",
    "metrics_public": "Whether /metrics answers callers on other machines without a key.",
    "access_log": "Whether each request is logged: method, path, status, milliseconds, address, key.",
    "log_level": "debug, info, warning or error.",
}

LOG_LEVELS = ("debug", "info", "warning", "error")
_ANY = 1 << 31
# No bound that means anything: it only keeps numbers within what every timer and counter can take.
BOUNDS: dict[str, tuple[int, int]] = {
    "port": (0, 65535),
    "steps_rate_per_minute": (0, _ANY),
    "lanes_rate_per_minute": (0, _ANY),
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
    "keep_alive_seconds": (1, 86_400),
    "credits_per_dollar": (0, 1_000_000_000),
}
"""Smallest and largest value of each number, both included."""
MIN_KEY_VARIETY = 10
"""Different characters of a bootstrap key; 64 random hexadecimal digits nearly always have more."""
PREFIX = "TOWERLOG_"

_DEFAULTS = Settings()
_KINDS: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#]+", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)


CLIENT_NAMES = frozenset({"URL", "API_KEY"})
"""Variables that clients read, without the prefix; they are no settings of the server."""


class BadSetting(Exception):
    """A setting has a wrong value; the message names the setting and its source."""


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Settings:
    """Settings from all sources. Raises BadSetting naming the source and the setting."""
    values: dict[str, Any] = {}
    if file is not None:
        values |= _typed({name: (str(file), value) for name, value in _from_file(file).items()})
    values |= _typed(_from_environment(environ))
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    values |= _typed({name: ("--" + name.replace("_", "-"), value) for name, value in given.items()})
    return _with_folder(_checked(Settings(**values)), environ)


def _typed(given: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """Values of their settings' types. Raises BadSetting naming the source of the first that is not."""
    values: dict[str, Any] = {}
    for name, (source, value) in given.items():
        kind = type(getattr(_DEFAULTS, name))
        typed = _value_of(kind, value)
        if typed is None:
            raise BadSetting(f"{source}: {name}: must be {_KINDS[kind]}, not {value!r}")
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


def database_path(settings: Settings) -> Path:
    """The SQLite file that the settings name."""
    if settings.database_url:
        return Path(settings.database_url.removeprefix("sqlite:///"))
    return Path(settings.data_dir) / "towerlog.db"


def existing_database(settings: Settings) -> Path:
    """The database's path. Raises FileNotFoundError where there is none: to look must not make one."""
    path = database_path(settings)
    if not path.exists():
        words = "no store here; name the data folder with --data-dir or TOWERLOG_DATA_DIR"
        raise FileNotFoundError(errno.ENOENT, words, str(path))
    return path


def _from_file(file: Path) -> dict[str, Any]:
    values = tomllib.loads(file.read_text())
    unknown = sorted(set(values) - set(MEANINGS))
    if unknown:
        raise BadSetting(f"{file}: unknown setting {unknown[0]!r}")
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


def unknown_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Variables that look like settings and are none → the one that was probably meant, None where none is near."""
    names = {name.upper() for name in MEANINGS}
    names |= {f"{name}_FILE" for name in names} | CLIENT_NAMES
    found: dict[str, str | None] = {}
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in names:
            near = difflib.get_close_matches(name, sorted(names), 1, 0.75)
            found[variable] = PREFIX + near[0] if near else None
    return found


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise BadSetting(f"{variable}: {path}: {reason}") from None


def _checked(settings: Settings) -> Settings:
    if settings.bootstrap_key and not 32 <= len(settings.bootstrap_key) <= 200:
        raise BadSetting("bootstrap_key: must have 32 to 200 characters")
    if settings.bootstrap_key and _is_guessable(settings.bootstrap_key):
        raise BadSetting(
            f"bootstrap_key: must have {MIN_KEY_VARIETY} different characters and not repeat itself; "
            "take one from `openssl rand -hex 32`"
        )
    if settings.database_url and not settings.database_url.startswith("sqlite:///"):
        raise BadSetting("database_url: only sqlite:///PATH is known")
    if settings.log_level not in LOG_LEVELS:
        raise BadSetting(f"log_level: must be one of {', '.join(LOG_LEVELS)}")
    for origin in filter(None, (origin.strip() for origin in settings.cors_origins.split(","))):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise BadSetting(f"cors_origins: {origin!r} is not an origin; write scheme://host or scheme://host:port")
    for name, (lowest, highest) in BOUNDS.items():
        if not lowest <= getattr(settings, name) <= highest:
            raise BadSetting(f"{name}: must be between {lowest} and {highest}")
    return settings


def _is_guessable(key: str) -> bool:
    """Whether it is of few characters, or the same few over and over. No check finds every bad key."""
    return len(set(key)) < MIN_KEY_VARIETY or key in (key * 2)[1:-1]


def _with_folder(settings: Settings, environ: Mapping[str, str]) -> Settings:
    if settings.data_dir:
        return settings
    if settings.database_url:
        folder = database_path(settings).parent
    else:
        # The XDG base directory specification.
        base = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "."), ".local", "share")
        folder = Path(base) / "towerlog"
    return dataclasses.replace(settings, data_dir=str(folder))
