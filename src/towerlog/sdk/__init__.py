"""The client in the user's process: what reports, what asks, what works. Standard library only."""
