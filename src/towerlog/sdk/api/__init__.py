"""Asking a server: every endpoint as a method of `Client` and `AsyncClient`, frozen replies, followed streams."""
