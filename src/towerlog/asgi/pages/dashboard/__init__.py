"""The dashboard as it is served: the files that `ui/` was built to, and the paths that answer with them."""
