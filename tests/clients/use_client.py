"""Uses a generated client; only mypy reads it."""

from uuid import UUID

from towerlog_client import AuthenticatedClient
from towerlog_client.api.runs import runs_create, runs_get, runs_list
from towerlog_client.models import CreatedReply, FullRow, RunBody, RunDetail
from towerlog_client.types import UNSET

client = AuthenticatedClient(base_url="http://localhost:8700", token="key")


def create() -> UUID:
    made = runs_create.sync("towers", client=client, body=RunBody(agent="researcher"))
    assert isinstance(made, CreatedReply)
    return made.run_id


def cost(run_id: UUID) -> float:
    run = runs_get.sync(run_id, client=client)
    assert isinstance(run, RunDetail)
    return run.total_cost_usd or 0.0


def names() -> list[UUID]:
    rows = runs_list.sync(client=client, status=UNSET)
    return [row.run_id for row in rows if isinstance(row, FullRow)] if isinstance(rows, list) else []
