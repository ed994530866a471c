"""Folds: (row, event) to row, pure. Every projection can be thrown away and folded again from the log."""
