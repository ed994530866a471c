"""How the SDK reaches a server: addresses, HTTP/1.1, event streams, retries, refusals. Knows no runs and no agents."""
