# Every target works on a bare machine with Python and make: the environment is made first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TRACKERS := .venv-trackers
PACKAGES := trainer evaluator dashboard shared tasks pocket darkroom run.py tests examples benchmarks docs

.DEFAULT_GOAL := help
.PHONY: help setup trackers demo docs test test-all test-gpu chaos check fix bench audit

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Create .venv with the tested versions

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

trackers: $(TRACKERS)/.ready ## Create .venv-trackers: MLflow and trackio, whose packages do not go with Darkroom's

$(TRACKERS)/.ready: trackers.txt
	$(PYTHON) -m venv $(TRACKERS)
	$(TRACKERS)/bin/python -m pip install --quiet --no-deps --no-compile --requirement trackers.txt
	@touch $@

demo: $(READY) ## Train on the embedded miniature model and look at it; ARGS="train.max_train_steps=40" overrides
	@$(BIN)/python run.py demo --new $(ARGS)

docs: $(READY) ## Build the documentation as a site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test: $(READY) ## The ordinary suite, ten to sixteen minutes on two cores
	@$(MAKE) --silent trackers || echo "the tests with MLflow and trackio are skipped: .venv-trackers could not be made"
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu and not slow and not network and not browser"
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/browser -m "not slow"

test-all: $(READY) ## Everything but what needs the hub
	@$(MAKE) --silent trackers || echo "the tests with MLflow and trackio are skipped: .venv-trackers could not be made"
	$(BIN)/python -m pytest -m "not network"

test-gpu: $(READY) ## What needs an accelerator
	$(BIN)/python -m pytest -m gpu

bench: $(READY) ## How fast it is on this machine's processors, in a dated report and in README; 20 minutes on two quiet cores
	$(BIN)/python benchmarks/bench.py

MINUTES ?= 10
SEED ?= 1

chaos: $(READY) ## A run whose programs are killed and whose files are damaged at random; MINUTES=10 SEED=1
	$(BIN)/python benchmarks/chaos.py --minutes $(MINUTES) --seed $(SEED)

check: $(READY) ## Format, lint, types, imports, spelling
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell $(PACKAGES) configs *.md

AUDIT := .venv-audit

$(AUDIT)/.ready: audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --requirement audit.txt
	@touch $@

audit: $(READY) $(AUDIT)/.ready ## A list of all packages in build/sbom.json; then known vulnerabilities, which needs PyPI
	mkdir -p build
	$(AUDIT)/bin/cyclonedx-py environment --of JSON -o build/sbom.json $(BIN)/python
	$(AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off

fix: $(READY) ## Format, and mend what can be mended
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)
