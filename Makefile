# Two commands matter: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-full test-bounds lint bench study lock clean

setup: $(STAMP)

# --no-compile: of fifty thousand modules a few thousand are ever imported, and compiled then.
# torch in a step of its own, so that only this one look-up touches PyTorch's index; where that
# does not answer within five seconds, pip's own configuration (say, a find-links folder) decides.
$(STAMP): requirements-cpu.lock requirements-syncode.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11 to 3.13 is needed; say which: make PYTHON=python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then echo "torch is installed"; \
	elif $(PYTHON) -c 'import urllib.request as u; u.urlopen("$(TORCH_INDEX)/torch/", timeout=5)' 2>/dev/null; then \
	  $(BIN)/python -m pip install -q --no-compile --no-deps --index-url $(TORCH_INDEX) '$(TORCH)'; \
	else \
	  $(BIN)/python -m pip install -q --no-compile --no-deps --no-index '$(TORCH)' || \
	  { echo "$(TORCH) was found neither on $(TORCH_INDEX) nor in pip's find-links" >&2; exit 2; }; \
	fi
	$(BIN)/python -m pip install -q --no-compile --require-hashes --no-deps -r requirements-cpu.lock
	$(BIN)/python -m pip install -q --require-hashes --no-deps --no-build-isolation -r requirements-syncode.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup
	$(BIN)/gars-vllm sample --model qwen2.5-coder-0.5b --limit 4 --n 8 --max-tokens 200 --out runs/demo
	$(BIN)/gars-vllm verify runs/demo
	$(BIN)/gars-vllm report runs/demo --per-problem

test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m "not vllm and not alone and not full"
	$(BIN)/python -m pytest -m "(vllm or alone) and not full"

# The grammar's tests and 1,000 walks with kernels that check every index; an error in a kernel that
# is called by its address is one that nothing raises. The kernels are kept apart from the others.
test-bounds: setup
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(VENV)/bounds $(BIN)/python -m pytest tests/grammar \
	  -n auto --maxprocesses 4 -m "not full" -W error::pytest.PytestUnraisableExceptionWarning

# Long corpora and fuzzers beside `make test`, before an issue is called resolved.
test-full: test test-bounds
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m "full and not vllm and not alone"
	$(BIN)/python -m pytest -m "full and (vllm or alone)" || test $$? -eq 5

lint: setup
	@mkdir -p .typecheck/gars_vllm && for p in grammar engine cli benchmarks; do ln -sfn ../../$$p .typecheck/gars_vllm/$$p; done
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy -p gars_vllm.grammar -p gars_vllm.engine -p gars_vllm.cli -p gars_vllm.benchmarks

bench: setup
	$(BIN)/gars-vllm bench

# Hours; interrupted, it goes on.
study: setup
	$(BIN)/python -m gars_vllm.benchmarks.study

# Needs uv. torch and what breaks beside its CPU build stay out.
lock:
	uv pip compile --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-package torch --no-emit-package torchvision --no-emit-package torchaudio \
	  --no-emit-package torchcodec requirements-cpu.in -o requirements-cpu.lock

clean:
	rm -rf $(VENV) .typecheck build *.egg-info grammar/__pycache__
