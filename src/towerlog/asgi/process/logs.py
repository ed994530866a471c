"""The log of the process: one JSON object a line on standard error, for our own messages and those of libraries."""

from __future__ import annotations

import logging
import os
import sys

import structlog

from towerlog.asgi.process.log_thread import LogThread

STANDARD_ERROR = 2
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_standard_files() -> None:
    """Opens those of the standard files that are closed, on nothing: what the process opens next would take their
    numbers, and be written to by whoever means them. Python has no streams for such."""
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def set_up_logging(level: str) -> None:
    """Logs as one JSON object per line on standard error, ASCII only; also for warnings of libraries."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    render: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
    ]
    handler = LogThread(STANDARD_ERROR)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=render, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("towerlog").setLevel(number)
    # It warns of every malformed request, and nobody may be able to fill the log by sending those.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
