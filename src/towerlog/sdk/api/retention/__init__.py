"""How long content is kept, and its erasure, for clients with the scope `admin`."""
