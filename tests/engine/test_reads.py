"""Reads: every question has its answer, in its own organisation alone."""
