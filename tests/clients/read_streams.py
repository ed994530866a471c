"""Reads a reply of each endpoint that only streams, by a generated client: `read_streams.py DOCUMENT` in its folder."""

import importlib
import json
import sys
from pathlib import Path

import httpx
from towerlog_client import AuthenticatedClient

TEXT = 'id: 1\ndata: {"type": "step"}\n\n'
client = AuthenticatedClient(base_url="http://localhost:8700", token="key")
document = json.loads(Path(sys.argv[1]).read_text())
streams = [
    operation
    for path in document["paths"].values()
    for operation in path.values()
    if isinstance(operation, dict)
    and [*operation.get("responses", {}).get("200", {}).get("content", {})] == ["text/event-stream"]
]
for operation in streams:
    [module] = Path("towerlog_client/api").glob(f"*/{operation['operationId'].replace('.', '_')}.py")
    made = importlib.import_module(".".join(module.with_suffix("").parts))
    reply = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=TEXT)
    found = made._parse_response(client=client, response=reply)
    assert found == TEXT, (operation["operationId"], found)
assert len(streams) > 2, streams
