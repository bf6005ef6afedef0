# `make help` prints the lines below that carry a `##`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENV := $(VENV)/.installed
PEER_VENV := .venv-peer
PEER_ENV := $(PEER_VENV)/.installed
PYTEST := $(BIN)/python -m pytest
# A process a core, each on one thread: two side by side take half the time of one after another.
JOBS ?= auto
FAST := OMP_NUM_THREADS=1 $(PYTEST) -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help env study test check format lint types floors slow gpu peer chaos bench clean

help:  ## print this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

$(ENV): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "archsearch needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

env: $(ENV)  ## create the environment (.venv)

study: $(ENV)  ## search spaces/gated.yaml; results in studies/gated/ (the same command again goes on)
	$(BIN)/archsearch study --space spaces/gated.yaml

test: $(ENV)  ## the fast tests (minutes)
	$(FAST)

check: lint types floors test  ## everything that must hold before a commit

format: $(ENV)  ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(ENV)  ## format and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(ENV)  ## static types
	$(BIN)/pyright

floors: $(ENV)  ## imports go down only
	$(BIN)/lint-imports

slow: $(ENV)  ## the tests that take long
	$(FAST) -m slow

gpu: $(ENV)  ## the tests that need an accelerator
	$(PYTEST) -m gpu

# torchvision comes along as a dependency of a dependency; no test wants it, and one built for another torch breaks transformers.
$(PEER_ENV): pyproject.toml constraints-peers.txt
	test -x $(PEER_VENV)/bin/python || $(PYTHON) -m venv $(PEER_VENV)
	$(PEER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-peers.txt -e '.[peer]'
	$(PEER_VENV)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@

peer: $(PEER_ENV)  ## agreement with SAELens and dictionary_learning, in an environment of its own (.venv-peer)
	$(PEER_VENV)/bin/python -m pytest tests/activations
	$(PEER_VENV)/bin/python -m pytest -m peer tests/peers

chaos: $(ENV)  ## the tests that kill processes at random points
	$(PYTEST) -m chaos

bench: $(ENV)  ## measure what the README states (about ten minutes, after `make study`)
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.speed

clean:  ## remove the environment and caches (studies stay)
	rm -rf $(VENV) $(PEER_VENV) .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
