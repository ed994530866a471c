"""The servers that clients are tried with."""

from tests.acceptance.conftest import fresh_server

__all__ = ["fresh_server"]
