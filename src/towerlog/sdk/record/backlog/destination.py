"""Where events are to be delivered: a server's URL and a key. Each destination has a spool of its own.

A destination is never guessed. Events that were reported without a key, or for a URL or a key that cannot be used, have
a spool that no program delivers by itself: `towerlog spool adopt` sends it where a person says.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from towerlog.sdk.record.backlog.own_files import OwnFolder
from towerlog.sdk.wire.address import MovingUrl, Url, checked_key, read_url, server_of

ABOUT = "destination.json"
"""The file in the folder of a spool that says where its events are to go."""
NO_KEY = "no API key: set TOWERLOG_API_KEY"
MAX_SHOWN_CHARS = 200


@dataclass(frozen=True)
class Destination:
    """A server and a key. `why_not` says why nothing can be sent there; None if it can."""

    server: Url
    api_key: str | None
    why_not: str | None = None

    @classmethod
    def of(cls, url: Url | None, api_key: str | None) -> Destination:
        """As given, else of the environment. Raises ValueError for a URL or a key that cannot be used."""
        url, api_key = server_of(url, api_key)
        address = read_url(str(url))
        server = url if isinstance(url, MovingUrl) else str(address)
        return cls(server, checked_key(api_key), None) if api_key else cls(server, None, NO_KEY)

    @classmethod
    def of_environment(cls) -> Destination:
        """Of TOWERLOG_URL and TOWERLOG_API_KEY; one that nothing can be sent to if they are not valid."""
        try:
            return cls.of(None, None)
        except ValueError as error:
            return cls(*server_of(None, None), f"TOWERLOG_URL or TOWERLOG_API_KEY is not valid: {error}")

    @property
    def url(self) -> str:
        """Where the server listens, or was found last."""
        return str(self.server)

    @property
    def name(self) -> str:
        """What stands for the server, wherever it listens."""
        return self.server.name if isinstance(self.server, MovingUrl) else self.server

    @property
    def spool_id(self) -> str:
        """The name of its spool, which does not reveal the key."""
        name = hashlib.sha256(f"{self.name}\n{self.api_key or ''}".encode("utf-8", "replace")).hexdigest()[:32]
        if self.why_not is None:
            return name
        return f"{'keyless' if self.api_key is None else 'unusable'}-{name}"

    def folder(self, root: Path) -> Path:
        """The parent of the folders of all processes with this destination."""
        return root / self.spool_id

    def note(self, folder: OwnFolder) -> None:
        """Writes what it is into the folder of its spool, once. Raises OSError."""
        if _is_noted(folder):
            return
        about = {"url": _shown(self.name), "key": fingerprint(self.api_key), "why_not": self.why_not}
        spare = f".{ABOUT}.{os.getpid()}"
        folder.remove(spare)
        with os.fdopen(folder.open_file(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
            file.write(json.dumps(about))
        os.replace(spare, ABOUT, src_dir_fd=folder.number, dst_dir_fd=folder.number)


def _is_noted(folder: OwnFolder) -> bool:
    """Whether a folder has the file. One of somebody else is replaced; what is no file is left to a person."""
    try:
        os.close(folder.open_file(ABOUT, os.O_RDONLY))
    except (FileNotFoundError, PermissionError):
        return False
    except OSError:
        return True
    return True


def fingerprint(api_key: str | None) -> str | None:
    """By what a key is told from others without revealing it."""
    return None if not api_key else hashlib.sha256(api_key.encode("utf-8", "replace")).hexdigest()[:12]


def _shown(url: str) -> str:
    """A URL without a user and a password: what was given may be anything."""
    head, found, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    shown = f"{head}{found}{place.rpartition('@')[2]}{slash}{path}" if found else url.rpartition("@")[2]
    return shown.partition("?")[0][:MAX_SHOWN_CHARS]
