"""The transport: raw ASGI around the engine. Only this package speaks HTTP."""
