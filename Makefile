# Every target makes what it needs first. Try: make demo, make test, make check, make bench.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
RESULTS := build/test-results
# Of make stress and make test-loaded.
ROUNDS ?= 20
BUSY ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup demo test proofs test-vm stress test-loaded test-fast check lint format docs images dist-check bench mutants \
	lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Make .venv and the locked side environment of onnx2tf
	@$(BIN)/edgepose tools install onnx2tf

# Exactly the locked versions and files (docs/adr/0039-locks.md); pip check says whether they go together.
$(STAMP): pyproject.toml $(wildcard requirements/host-*.txt)
	@$(PYTHON) -c 'import os, sys; v = "%d.%d" % sys.version_info[:2]; \
		sys.exit(0 if os.path.exists("requirements/host-" + v + ".txt") else "edgepose on the host is locked for Python " \
		"$(patsubst requirements/host-%.txt,%,$(wildcard requirements/host-*.txt)), this is " + v + "; set PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "python3 -m venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing edgepose and its tools into $(VENV) (about 3 GB, two minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		--only-binary=:all: --requirement requirements/host-$$($(BIN)/python -c \
		'import sys; print("%d.%d" % sys.version_info[:2])').txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check
	@touch $(STAMP)

demo: setup  ## Deploy the built-in model to a preview root here, run it on a drawn clip, write a report
	$(BIN)/python -m examples.demo demo

test: setup  ## Run all tests (what CI runs)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not vm" --junitxml=$(RESULTS)/tests.xml

proofs:  ## Did every test that SECURITY.md names run and pass in the last make test?
	$(BIN)/python -m tests.support.proofs_ran $(RESULTS)/tests.xml

test-vm: setup  ## Power cuts, watchdog and camera in an emulated arm64 machine; as root, needs qemu-system-arm
	$(BIN)/python -m pytest -m vm -v --junitxml=$(RESULTS)/vm.xml tests/integration/test_vm.py
	$(BIN)/python -m tests.support.proofs_ran --vm $(RESULTS)/vm.xml

stress: setup  ## Run the tests that wait for other processes 20 times beside four busy ones
	$(BIN)/python -m tests.support.stress --rounds $(ROUNDS) --busy $(BUSY) -- -m "timing and not vm"

test-loaded: setup  ## Run all tests three times beside four busy processes
	$(BIN)/python -m tests.support.stress --rounds 3 --busy $(BUSY) -- -n $(JOBS) --dist loadgroup -m "not vm"

test-fast: $(STAMP)  ## Run the tests that take no more than a few seconds each
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

check: $(STAMP)  ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Build the documentation site into build/site/html, strictly
	$(BIN)/python -m docs.site.build_site

images: $(STAMP)  ## Make the images of README and site: drawn people, the built-in model
	$(BIN)/python -m docs.site.make_images

dist-check: $(STAMP)  ## Build wheel and sdist, look into them, run the wheel in an empty environment
	$(BIN)/python -m tests.support.dist_check dist

bench: setup  ## List the benchmarks; NAME=tracking DATA=folder makes its record, and the page's figures, again
	@$(BIN)/python benchmarks/bench.py $(NAME) $(if $(DATA),--data "$(DATA)") $(ARGS)

mutants: setup  ## Would the tests notice small wrong changes in what is promised? About 15 minutes
	@$(BIN)/python benchmarks/bench.py mutants $(ARGS)

lock: $(STAMP)  ## Renew all locks: UPGRADE=all, UPGRADE=numpy,tuf; one device: TARGET=aarch64-3.14
	$(BIN)/python requirements/renew_locks.py --upgrade "$(UPGRADE)" --target "$(TARGET)"

clean:  ## Remove what make setup made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
