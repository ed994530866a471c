"""Renders the entry point of an agent from its agentfile, with the generator's own code and templates.

Run in the environment of the stock agents: `render.py AGENTFILE OUTPUT`. The generator's command line needs Docker; its
templates and the code that fills them do not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agentfile.core.models import AgentFile
from agentfile.core.template_context import build_context
from jinja2 import Environment, PackageLoader


def render(path: Path) -> str:
    """The program of the only agent in the file."""
    whole = AgentFile.from_path(str(path))
    [agent] = whole.agents.values()
    context = build_context(whole, agent, has_invoke_server=agent.serve, agentfile_dir=path.parent)
    known = context.model_dump(mode="python")
    known["agent"] = context.agent
    templates = Environment(loader=PackageLoader("agentfile", "templates"), keep_trailing_newline=True)
    return templates.get_template("entrypoint.py.j2").render(**known)


Path(sys.argv[2]).write_text(render(Path(sys.argv[1])))
