# Each goal does its own set-up: packages by apt where it is root (else it says what to install),
# then a virtual environment in .venv from requirements.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Most tests wait for peers: four processes keep two cores busy.
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit lint bench lock clean

help: ## list the goals
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | while IFS='|' read -r goal text; do printf '  make %-10s %s\n' "$$goal" "$$text"; done

demo: $(READY) ## move sample studies between two sandbox PACSs and a folder, and prove it
	@$(BIN)/adit demo

test: lint peers ## lint and every test, on real Postgres, Orthanc and DCMTK (under 6 minutes on 2 cores)
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal

test-unit: $(READY) ## the tests that need no server (under one minute)
	$(BIN)/pytest -q -n 2 tests/unit

lint: $(READY) ## ruff, mypy --strict, and the arrows of the design
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache | tail -n 3

bench: $(READY) peers ## the benchmarks; one JSON object a line on standard output
	@$(BIN)/python -m benchmarks

.PHONY: peers
peers: $(READY)
	@scripts/debian-packages Orthanc=orthanc storescp=dcmtk pgbouncer=pgbouncer openssl=openssl

lock: ## resolve the dependencies anew into requirements.lock
	UV_PYTHON_DOWNLOADS=never uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header --no-annotate --upgrade -q -o requirements.lock

clean: ## remove what the goals made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@PYTHON=$(PYTHON) scripts/debian-packages $(notdir $(PYTHON))=python3 ensurepip=python3-venv
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	@echo "Preparing the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
