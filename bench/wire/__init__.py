"""Protocols as state machines: bytes in, events out; no sockets, no clocks."""
