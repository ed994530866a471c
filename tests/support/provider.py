"""An identity provider on this machine: `oidc-provider-mock` in its own process, and a browser's way through it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import httpx2

from tests.support.ports import HeldPort
from tests.support.wait import wait_until


@contextmanager
def provider(people: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """A provider that knows these people by subject, with what it says of each. Yields its issuer."""
    held = HeldPort()
    issuer = f"http://localhost:{held.number}"
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(held.number), "--require-nonce"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=issuer, trust_env=False, verify=False, timeout=30.0) as client:
            wait_until(lambda: process.poll() is not None or _answers(client), "the identity provider")
            for subject, claims in people.items():
                client.put(f"/users/{quote(subject, safe='')}", json=dict(claims)).raise_for_status()
        yield issuer
    finally:
        process.kill()
        process.wait()
        held.close()


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/.well-known/openid-configuration").status_code == 200
    except httpx2.TransportError:
        return False


def allowed_by(address: str, subject: str | None) -> str:
    """Where the provider sends a browser that was sent to `address`, once this person has agreed; None: has not."""
    form = {"sub": subject} if subject is not None else {"action": "deny"}
    reply = httpx2.post(address, data=form, trust_env=False, verify=False)
    assert reply.status_code in (302, 303), reply.text
    return str(reply.headers["location"])


def path_of(url: str) -> str:
    """Path and query."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
