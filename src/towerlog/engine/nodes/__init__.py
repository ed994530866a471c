"""Other nodes of the same store: what they commit is heard of, read back, and told here in the order of positions."""
