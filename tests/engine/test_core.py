"""The engine's front door: which command goes where, what a wait costs, and how a stop ends it."""
