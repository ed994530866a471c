"""Folds: (row, event) to row, pure. What stands in a projection can always be refolded from the log."""
