"""How providers and frameworks tell what a model call has used: one reader for SDK, server and importers."""
