"""The Claude Agent SDK: its messages as runs, its requests for permission as questions."""
