"""What the tests of the SDK share: a server that misbehaves on order, and recorders that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sdk.support.ingest_server import KEY, Ingest
from towerlog.sdk.record.recorder import Recorder


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    """A server of the test's own."""
    server = Ingest()
    yield server
    server.close()


@pytest.fixture
def recorder_of(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Recorder]:
    """Makes recorders whose spool is in the test's folder; closed after the test."""

    def make(url: str, api_key: str = KEY, **options: object) -> Recorder:
        chosen: dict[str, object] = {"spool_dir": tmp_path / "spool", "longest_pause_seconds": 0.2, **options}
        recorder = Recorder(url, api_key, **chosen)  # type: ignore[arg-type]
        request.addfinalizer(lambda: recorder.close(0.0))
        return recorder

    return make


@pytest.fixture
def recorder(ingest: Ingest, recorder_of: Callable[..., Recorder]) -> Recorder:
    """A recorder that reports to the test's server."""
    return recorder_of(ingest.url)
