"""The native endpoints are asked over the whole application, as everything else of `asgi` is."""

from tests.asgi.conftest import app, clock, say, settings

__all__ = ["app", "clock", "say", "settings"]
