"""LangChain and LangGraph: a callback handler, and compiled graphs as agents of a worker."""
