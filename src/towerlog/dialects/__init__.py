"""Wire to canonical and back, pure, one file a dialect. `DIALECTS` is the registry."""
