"""The settings of commands that run the server's code, judged by those of its parts that read them.

Commands that only ask a server have `cli/options.py`, which imports none of it.
"""

from __future__ import annotations

import sys
from functools import partial

import structlog

from towerlog.cli.options import with_settings
from towerlog.egress.addresses import parse_allowed
from towerlog.egress.collector import read_collector, read_headers
from towerlog.egress.mail.mailboxes import parse_mail_server
from towerlog.storage import check_wake

_CHECKS = {
    "egress_allow": parse_allowed,
    "smtp_url": parse_mail_server,
    "wake": check_wake,
    "forward_otlp_url": read_collector,
    "forward_otlp_headers": read_headers,
}
with_server_settings = partial(with_settings, checks=_CHECKS)


def _on_standard_error(*_: object) -> structlog.PrintLogger:
    return structlog.PrintLogger(sys.stderr)


if not structlog.is_configured():
    # What the parts of the server log in a command is no part of its answer; the server itself logs as `logs` says.
    structlog.configure(logger_factory=_on_standard_error)
