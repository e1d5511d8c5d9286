# make            lists the targets
# make run        sets everything up and inspects a model (MODEL=org/name to choose one)
# make test       sets everything up and runs the tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL ?= meta-llama/Meta-Llama-3-8B

.DEFAULT_GOAL := help
.PHONY: help run test lint types format bench accuracy oracle oracle-training tables clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamps follow pyproject.toml: once set up, no target asks a package registry again.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "llm-inspect needs Python 3.10 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: pyproject.toml tests/requirements-no-deps.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/requirements-no-deps.txt
	@touch $@ $(VENV)/.run

run: $(VENV)/.run ## set up and inspect a model: make run MODEL=org/name
	@$(BIN)/llm-inspect $(MODEL)

test: $(VENV)/.test ## set up and run the tests
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)

lint: $(VENV)/.test ## check style and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test ## let ruff format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.test ## check types with mypy
	$(BIN)/mypy

bench: $(VENV)/.test ## time llm-inspect beside huggingface_hub's own readers, on a loopback Hub
	$(BIN)/python -m benchmarks.cold_report

accuracy: $(VENV)/.test ## score the serving engines on published cases: make accuracy CASES=folder
	$(BIN)/python -m benchmarks.accuracy $(CASES)

# The oracles need torch (CPU) beside the rest: what transformers' own classes hold, keep and peak at.
$(VENV)/.oracle: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch>=2.13'
	@touch $@

oracle: $(VENV)/.oracle ## compare with transformers: parameters, caches, inference peaks (20 minutes)
	$(BIN)/python -m tests.oracles.parameters
	$(BIN)/python -m tests.oracles.caches
	$(BIN)/python -m tests.oracles.inference --out tests/memory/data/inference_peaks.json
	$(BIN)/python -m pytest tests/memory/test_activations.py

oracle-training: $(VENV)/.oracle ## measure training steps and print the estimate's errors
	$(BIN)/python -m tests.oracles.training

tables: $(VENV)/.oracle ## regenerate inspector/data and fixtures/snapshots from the installed transformers
	$(BIN)/python fixtures/make_configs.py
	$(BIN)/python fixtures/make_classes.py
	$(BIN)/python fixtures/make_snapshots.py

clean: ## remove what make made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
