"""Adapters to agent frameworks, by the names that programs import: each needs its framework installed."""
