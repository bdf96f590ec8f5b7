"""Measure inference serving: latency that is honest, runs that are valid or say why not."""

import os

__version__ = "0.1.0"

# before anything imports onnxruntime: a measuring tool sends nothing about what it measures
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
