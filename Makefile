# Needs make, git and a Python of at least 3.11; everything else goes into .venv.
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
DEMO := runs/demo

.DEFAULT_GOAL := help
.PHONY: help install demo test quick lint format docs clean build

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed ## create .venv with Shoal (editable), its tools and the peers it is compared with

# Any Python from 3.11 on will do; PYTHON=... chooses one.
$(VENV)/.installed: pyproject.toml
	@set -e; \
	new='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if [ ! -x $(BIN)/python ] || ! $(BIN)/python -c "$$new" 2>/dev/null; then \
		found=; \
		for python in $(or $(PYTHON),python3 python3.12 python3.11 python3.13 python); do \
			if "$$python" -c "$$new" 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Shoal needs Python 3.11 or newer and found none; install one, or say: make install PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		"$$found" -m venv --clear $(VENV) || { \
			echo "$$found cannot create a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi; \
	$(BIN)/python -m pip install --quiet --upgrade pip; \
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'; \
	touch $@

demo: install ## train a small team, evaluate it and draw what it does, in runs/demo (an older one is kept under a number)
	@if [ -e $(DEMO) ]; then n=1; while [ -e $(DEMO)-$$n ]; do n=$$((n + 1)); done; mv $(DEMO) $(DEMO)-$$n; fi
	$(BIN)/shoal train experiment=demo output_dir=$(DEMO)
	$(BIN)/shoal evaluate $(DEMO) --episodes 256
	$(BIN)/shoal watch $(DEMO)

# Most programs of the tests run for less time than a CPU takes to compile them well. A jaxlib that does not know
# these flags refuses to start; it goes without them.
SOON := soon="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"; \
	JAX_PLATFORMS=cpu XLA_FLAGS="$$soon" $(BIN)/python -c "import jax; jax.devices()" >/dev/null 2>&1 || soon=; \
	XLA_FLAGS="$$soon $$XLA_FLAGS"

test: lint ## everything: the linters and all tests
	$(SOON) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not serial"
	$(BIN)/python -m pytest -m serial

quick: install ## the tests for daily work: no slow ones, one scenario per family plus what you changed
	$(SOON) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --quick

lint: install ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## let ruff sort imports and lay out code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install ## the documentation as a site, in site/; a broken link ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: install ## wheel and source archive in dist/
	$(BIN)/python -m build

clean: ## remove what tools left behind; keeps .venv and runs/
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache src/*.egg-info
	find envs algorithms baselines configs tests src -name __pycache__ -type d -prune -exec rm -rf {} +
