"""What the tidy laws let pass, each with its reason. An exception that is no longer needed fails.

`STILL_TO_MOVE` is the list of what the tree owes to the newest laws: it may only become shorter.
"""

from collections.abc import Mapping

ALLOWED: Mapping[tuple[str, str], str] = {
    ("stray_docstring", "tests/asgi/pages/test_field_docs.py"): "tries what is made of a text that is of no field",
    ("decided_at_import", "tests/sdk/support/reporter.py"): "is a program of its own and imported by nobody",
}
"""(name of a check over one file, path) → why this file may."""

TESTED_BY: Mapping[str, str] = {"store/base": "tests/contract/test_"}
"""Package → how the paths of its tests begin, where they do not stand in the mirrored folder."""

STILL_TO_MOVE: Mapping[str, Mapping[str, int]] = {
    "crowded_folders": {},
    "names_given_twice": {},
}
"""Name of a check over the tree → what it would complain of, and the number that it must not exceed meanwhile."""

MAY_BE_LONG: Mapping[str, str] = {
    "model": "a flat list of nouns, one file each: a reader looks a noun up by its name",
    "cli": "a flat list of commands, one file each: a reader looks a command up by its name",
}
"""Folder of the package → why it may hold more files than others."""

NOT_FROZEN: Mapping[str, str] = {
    "Batch": "learns its place on disk after it was made; owned by the one sender that holds it",
    "CallReports": "a capability, which its library makes of classes that are not frozen",
    "Questions": "a capability; learns after it was made who decides on the calls that wait",
    "Place": "becomes a run of its own when it shows that it is a graph; owned by its tree",
    "Waiting": "notes that its program has been given all answers; owned by the tree of its recorder",
    "Changes": "filled while a unit of work is planned, and owned by the planner alone",
    "Remainder": "taken from while the events of a run are read, by the one reader that has it",
    "News": "added to until it is sent, by the one node that has it",
    "DrawnIds": "remembers what it has given, for the one group that it was made for",
    "Exchange": "filled in by the gate's steps; one request has it",
    "SpanNode": "a span whose place in its tree is found out once all spans of its request are read",
    "Trace": "what a request has of a trace, found out as its spans are read",
    "Packer": "makes its contexts at their first use; one transaction or one question has it",
    "Carried": "added to while a unit of work is planned, and owned by the plan alone",
    "RunState": "a run's state while one group is placed, owned by its plan",
    "_Target": "what the drafts of one run have in common, found out as they are placed, for one request",
    "SpansOfTrace": "what a group has found of a trace's spans, found out as its needs are asked for",
    "TraceLook": "what of a trace has been looked at, found out as the spans of one request are placed",
    "Traces": "the runs of the traces of one request, found out as its spans are placed",
    "Way": "how far the way up from a span has been followed while its group is loaded",
    "Tallies": "counted up while a unit of work is planned, and owned by the planner alone",
    "PendingRequest": "a request in hand, filled in by its connection until its reply is sent",
    "Turn": "counts how often its group was placed, and who broke",
    "Counters": "counted up while a unit of work is planned, and owned by the planner alone",
    "EventResult": "an item of a reply, made and encoded at once",
    "FeedEvent": "an item of a reply, made and encoded at once",
    "ImportOutcome": "counted up while a file is imported, and owned by that import",
    "ExportOutcome": "the same of a file of spans",
    "RunReader": "remembers what its agent said last and which tools it called, while one file is read",
    "Issue": "an item of a refusal, made and encoded at once",
    "RejectedEvent": "an item of a reply, made and encoded at once",
    "RejectedItem": "an item of a reply, made and encoded at once",
    "Rows": "filled table by table while the store is read, then handed to one reader",
    "RunChange": "its newer half is replaced while a unit of work is planned",
    "RunCommand": "an item of a reply, made and encoded at once",
    "SentEvent": "an item of a request, read once",
    "Submission": "holds the future through which the writer answers",
    "ThreadRun": "an item of a reply, made and encoded at once",
    "ActivityRefusal": "a refusal, filled in and encoded at once",
    "LanesRefusal": "a refusal, filled in and encoded at once",
    "RunsRefusal": "a refusal, filled in and encoded at once",
    "SentFields": "the fields of a request's event, filled in while it is read",
    "_CommandData": "an event's body as its sender wrote it, decoded and read once",
    "_OfAgent": "counted up while a group is placed, and owned by its tally",
    "_OfCell": "counted up while a group is placed, and owned by its tally",
    "WorkerEvent": "an item of a request, read once",
}
"""Name of a struct → why its fields may be set after it was made."""

NAMED_BY_OTHERS: Mapping[str, Mapping[str, str]] = {
    "asgi/connection.py": dict.fromkeys(
        (
            "on_body",
            "on_header",
            "on_headers_complete",
            "on_message_begin",
            "on_message_complete",
            "on_url",
        ),
        "the parser of HTTP calls it by this name",
    ),
    "asgi/pages/guides/markup.py": dict.fromkeys(
        ("fence", "heading_close", "table_close"), "the renderer of Markdown calls it by the name of a token"
    ),
    "asgi/process/log_thread.py": {"emit": "structlog and logging call it for each line"},
    "asgi/process/loop_watch.py": {"rests": "by it a test knows that no beat is due, and waits for nothing"},
    "egress/answers.py": dict.fromkeys(
        ("on_body", "on_header", "on_headers_complete", "on_message_complete"),
        "the parser of HTTP calls it by this name",
    ),
    "cli/groups.py": {"format_commands": "click calls it to write the help of a group"},
    "cli/main.py": {"format_commands": "click calls it to write the help of a group"},
    "server.py": dict.fromkeys(("handle_exit", "main_loop"), "uvicorn calls it, and the server does it otherwise"),
    "store/base/log.py": {
        "run_trim": "of the contract, though nothing asks for it: readers know the gap that it leaves"
    },
    "store/postgres/connections.py": {"get_reset_query": "asyncpg calls it when a connection goes back to its pool"},
    "sdk/integrations/claude_agent/session.py": {"can_use_tool": "programs hand it to the Agent SDK of Claude"},
    "sdk/integrations/langchain/saver.py": dict.fromkeys(
        ("adelete_thread", "aget_tuple", "alist", "aput", "aput_writes"), "LangGraph calls it to keep its states"
    ),
    "sdk/integrations/pydantic_ai_reports.py": dict.fromkeys(
        ("get_ordering", "wrap_model_request", "wrap_tool_execute", "wrap_tool_validate"),
        "Pydantic AI calls it as a capability of an agent",
    ),
}
"""Path in the package → name → who names it, where nothing of ours but a test does."""
