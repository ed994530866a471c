"""What SQLite is asked about those who may come in: keys, members, their sessions, and links that sign in."""
