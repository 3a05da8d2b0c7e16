# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install run test test-unit lint format lock bench chaos down clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## install everything into .venv, pinned with hashes

# Made anew when a lock or the project's own settings change; a half install leaves no stamp.
$(INSTALLED): locks/dev.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo "Error: Sluice needs Python 3.11; '$(PYTHON)' is not. Do: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || \
	  { echo "Error: no virtual environment could be made. Do: install Python's venv module (python3-venv)." >&2; exit 1; }
	@echo "Installing Python packages (a minute or two the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install ## the stack, the jobs, a stream of events, and what came out
	@$(BIN)/sluice demo

test: lint ## lint, types, unit and integration tests on a stack of their own
	@$(BIN)/python -m tests.kit.run -m "not long" --durations=25 tests/unit tests/integration tests/lifecycle

test-unit: install ## the tests that need no server
	@$(BIN)/python -m pytest -q tests/unit

lint: install ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: install ## mend what ruff can mend by itself
	@$(BIN)/ruff check --fix .

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet

lock: install ## pin the packages of pyproject.toml anew
	@$(LOCK) -o locks/runtime.txt pyproject.toml
	@$(LOCK) --extra dev -o locks/dev.txt pyproject.toml
	@$(LOCK) -o locks/peers.txt bench/peers/requirements.in

PEERS := .sluice/peers

# What others have written, for comparison, beside our own packages.
$(PEERS)/.installed: locks/peers.txt
	@"$(PYTHON)" -m venv --clear $(PEERS)
	@$(PEERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r locks/peers.txt
	@touch $@

bench: install $(PEERS)/.installed ## measure start, ingest and the sinks beside others (an hour)
	@$(BIN)/python -m bench.stack
	@$(BIN)/python -m bench.ingest
	@$(BIN)/python -m bench.sinks --peers $(PEERS)/bin/python
	@$(BIN)/python -m bench.pipeline
	@$(BIN)/python -m bench.lifecycle

chaos: install ## the long fault tests
	@$(BIN)/python -m tests.kit.run -m long tests/integration tests/lifecycle
	@$(BIN)/python -m tests.kit.run tests/chaos

down: install ## stop the local stack
	@$(BIN)/sluice stack down

clean: ## stop the stack, delete it and the virtual environment; downloads stay
	@if [ -x $(BIN)/sluice ]; then $(BIN)/sluice stack down --wipe; fi
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
