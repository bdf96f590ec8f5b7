# `make demo` and `make test` are all a newcomer needs; both stand on `make setup`.
PYTHON ?= python3
BENCH := .venv/bin/bench
# ONNX Runtime comes in two builds that install over each other: the GPU one where an NVIDIA driver answers
EXTRA := $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
READY := .venv/ready-$(EXTRA)

.PHONY: demo test setup lint verify verify-calibration verify-compare-calibration verify-streams verify-accuracy \
  verify-cost verify-in-process verify-agreement verify-long-run verify-history verify-compare-live verify-openai clean

demo: setup            ## the five-minute tour: Flask against Triton on ResNet-50
	$(BENCH) demo

test: setup            ## everything that can be checked without a GPU
	.venv/bin/python -m pytest

lint: setup
	.venv/bin/ruff format --check bench models tests
	.venv/bin/ruff check bench models tests
	.venv/bin/mypy

PAGES := calibration compare-calibration streams accuracy cost in-process agreement long-run compare-live history

verify: setup          ## the measured evidence that the docs quote, all pages of it; some 80 minutes on a quiet machine
	@failed=; for page in $(PAGES); do $(MAKE) verify-$$page || failed="$$failed $$page"; done; \
	  test -z "$$failed" || { echo "not held, or not made:$$failed; see above"; exit 1; }

verify-calibration: setup   ## how often intervals hold what they should, on simulated servers
	.venv/bin/python -m bench.evidence.calibration --output docs/calibration.md

verify-compare-calibration: setup   ## how often a verdict is right, on simulated sides
	.venv/bin/python -m bench.evidence.verdicts --output docs/compare-calibration.md

verify-streams: setup       ## the times of tokens against a server that knows them
	.venv/bin/python -m bench.evidence.stream_accuracy --output docs/streaming-accuracy.md

verify-accuracy: setup      ## latencies and send lag against the truth; what other generators say of a stall
	$(BENCH) selfcheck --thorough --output docs/accuracy.md

verify-cost: setup          ## what a request costs the client; beside perf_analyzer where $$PERF_ANALYZER or the PATH has it
	.venv/bin/python -m bench.evidence.cost --output docs/cost.md

verify-in-process: setup    ## onnx://cpu against a bare ONNX Runtime loop
	.venv/bin/python -m bench.evidence.in_process --output docs/in-process.md

verify-agreement: setup     ## bench's own client and tritonclient on the same Triton
	.venv/bin/python -m bench.evidence.agreement --output docs/agreement.md

verify-long-run: setup      ## ten million requests: memory, and the report of them
	.venv/bin/python -m bench.evidence.long_run --output docs/long-run.md

verify-compare-live: setup  ## bench compare on real Tritons: one and the same twice, and one with a fifth more to do
	.venv/bin/python -m bench.evidence.compare_live --output docs/compare-live.md

verify-history: setup       ## how often a run is judged rightly by those before it, and a change of level seen
	.venv/bin/python -m bench.evidence.history --output docs/history-rates.md

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
