"""LangChain and LangGraph: a callback handler for chains and graphs that the program runs itself."""

from __future__ import annotations

from towerlog.sdk.integrations.langchain.handler import langchain

__all__ = ["langchain"]
