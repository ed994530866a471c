"""Who runs a command that opens the store: an account of this machine. The audit names it as an operator."""

from __future__ import annotations

import os
import pwd

from towerlog.model.audit import Actor, ActorType


def operator() -> Actor:
    """The account of this process; its number where it has no name. What the environment says of it does not count."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Actor(ActorType.OPERATOR, user_name=name)
