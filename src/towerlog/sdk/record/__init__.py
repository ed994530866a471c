"""Reporting runs from the program that they happen in: runs, spans, decorators, and the delivery of their events."""
