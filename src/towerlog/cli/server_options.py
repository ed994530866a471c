"""The settings of commands that run the server's code, judged by those of its parts that read them.

Commands that only ask a server have `cli/options.py`, which imports none of it.
"""

from __future__ import annotations

from functools import partial

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
