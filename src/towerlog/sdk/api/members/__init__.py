"""Members of an organisation, for clients with the scope `admin`."""
