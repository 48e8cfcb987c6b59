# make demo   run the example network on two simulated boards
# make test   lint, types and the tests
# make slow   the tests that take longer
# make mutants   plant faults in the RTL, see what the tests notice, write docs/mutants.md: hours; goes on where it was
#
# Both make .venv on first use, and again when pyproject.toml changes. PYTHON=... picks the Python for it.

SHELL := /bin/sh
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq --no-input
# An interrupted `python -m venv`, or another tool, may have left a .venv without pip.
ENSURE_PIP := $(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip >/dev/null

.PHONY: demo test slow mutants lint clean

demo: $(VENV)/sim.stamp
	@$(BIN)/superlip run examples/digits/digits.onnx --boards 2 --node tiny

test: lint
	@$(BIN)/pytest -n auto --dist worksteal -ra --durations=10

# The other cases of the testbenches, imports of large networks, a node of each of 190 kinds: hours.
slow: $(VENV)/test.stamp
	@$(BIN)/pytest -n auto --dist worksteal -ra --durations=10 -m slow

mutants: $(VENV)/test.stamp
	@$(BIN)/python -m superlip.sim.mutants --jobs 2 --known docs/mutants.json --table docs/mutants.md

lint: $(VENV)/test.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p superlip

$(VENV)/sim.stamp: pyproject.toml | $(BIN)/python
	@echo "installing superlip in $(VENV)"
	@$(ENSURE_PIP)
	@$(PIP) -e '.[sim]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	@echo "installing superlip and its test tools in $(VENV)"
	@$(ENSURE_PIP)
	@$(PIP) -e '.[test,lint]'
	@touch $@ $(VENV)/sim.stamp

$(BIN)/python:
	@for python in $(PYTHON); do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && found=$$python && break; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "superlip needs Python 3.11 or newer; tried: $(PYTHON). Install one, or say make PYTHON=/path/to/python" >&2; \
	    exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$found can't make virtual environments; on Debian or Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	fi; \
	$$found -m venv $(VENV)

clean:
	rm -rf $(VENV) build superlip.egg-info
