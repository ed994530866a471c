"""Events that are not with the server yet: in memory, on disk, and the count of those that were dropped."""
