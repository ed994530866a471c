"""What the tidy laws let pass, each with its reason. An exception that is no longer needed fails.

`STILL_TO_MOVE` is the list of what the tree owes to the newest laws: it may only become shorter.
"""

from collections.abc import Mapping

ALLOWED: Mapping[tuple[str, str], str] = {}
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
    "Changes": "filled while a unit of work is planned, and owned by the planner alone",
    "News": "added to until it is sent, by the one node that has it",
    "DrawnIds": "remembers what it has given, for the one group that it was made for",
    "Exchange": "filled in by the gate's steps; one request has it",
    "SpanNode": "a span whose place in its tree is found out once all spans of its request are read",
    "Trace": "what a request has of a trace, found out as its spans are read",
    "Packer": "makes its contexts at their first use; one transaction or one question has it",
    "RunState": "a run's state while one group is placed, owned by its plan",
    "_Target": "what the drafts of one run have in common, found out as they are placed, for one request",
    "Tallies": "counted up while a unit of work is planned, and owned by the planner alone",
    "PendingRequest": "a request in hand, filled in by its connection until its reply is sent",
    "Turn": "counts how often its group was placed, and who broke",
    "Counters": "counted up while a unit of work is planned, and owned by the planner alone",
    "EventResult": "an item of a reply, made and encoded at once",
    "FeedEvent": "an item of a reply, made and encoded at once",
    "ImportOutcome": "counted up while a file is imported, and owned by that import",
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
