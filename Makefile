# `make demo` and `make test` are all a newcomer needs; both stand on `make setup`.
PYTHON ?= python3
BENCH := .venv/bin/bench
# ONNX Runtime comes in two builds that install over each other: the GPU one where an NVIDIA driver answers
EXTRA := $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
READY := .venv/ready-$(EXTRA)

.PHONY: demo test setup lint verify verify-openai clean

demo: setup            ## the five-minute tour: Flask against Triton on ResNet-50
	$(BENCH) demo

test: setup            ## everything that can be checked without a GPU
	.venv/bin/python -m pytest

lint: setup
	.venv/bin/ruff format --check bench models tests
	.venv/bin/ruff check bench models tests
	.venv/bin/mypy

verify: setup          ## the measured evidence that the docs quote; some ten minutes
	mkdir -p docs
	{ echo "# How often the intervals are right"; echo; echo "Made by \`make verify\`."; echo; .venv/bin/python -m bench.evidence.calibration; } > docs/calibration.md
	{ echo "# How true the times of streams are"; echo; echo "Made by \`make verify\`."; echo; .venv/bin/python -m bench.evidence.stream_accuracy; } > docs/streaming-accuracy.md

verify-openai: setup   ## openai:// against llama.cpp's own server, which comes from PyPI into an environment of its own
	.venv/bin/python -m bench.evidence.openai_peer

setup: $(READY)        ## .venv, and the Triton that demo and tests use
	@$(BENCH) triton install

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
	  { echo "bench needs CPython 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) lacks venv: apt install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	PIP_CONSTRAINT=constraints.txt .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[$(EXTRA),dev]'
	@touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
