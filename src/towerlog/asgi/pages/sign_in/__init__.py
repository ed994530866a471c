"""Where people sign in and out, and see who they are here."""
