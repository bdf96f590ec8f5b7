"""What serves a model, wherever it runs: these files are also copied beside a model and run outside bench's environment."""

import os

# From 1.29 on ONNX Runtime's Linux wheels upload telemetry, from within the very processes that are measured. It is read once,
# when onnxruntime is imported, so it is set before any module here imports that; processes started from here inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
