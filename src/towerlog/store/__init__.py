"""Memory: appends in order, reads after a cursor, keeps rows. It decides nothing."""
