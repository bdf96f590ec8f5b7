"""Measure inference serving: latency that is honest, runs that are valid or say why not."""

__version__ = "0.1.0"
