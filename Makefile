# Each goal does its own set-up: packages by apt where it is root (else it says what to install),
# then a virtual environment in .venv from requirements.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DICOMWEB := /usr/share/orthanc/plugins/libOrthancDicomWeb.so
# Most tests wait for peers: with four processes two cores still idled a fifth of the time.
JOBS ?= 6

# Python's compiled files are kept, whatever the shell says: hundreds of processes begin in a run of the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-sweeps test-cluster test-chaos cluster cluster-down images lint bench bench-matrix bench-cluster lock image-locks clean

help: ## list the goals
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | while IFS='|' read -r goal text; do printf '  make %-12s %s\n' "$$goal" "$$text"; done

demo: $(READY) ## move sample studies between two sandbox PACSs and a folder, and prove it
	@$(BIN)/adit demo

test: peers ## lint and every test, on real Postgres, Orthanc and DCMTK (about 6 minutes on 2 cores), and on Kubernetes where it is there
	@$(MAKE) --no-print-directory -j 2 lint compiled
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal --ignore tests/cluster
	@tests/cluster/run

test-unit: $(READY) ## the tests that need no server (under one minute)
	$(BIN)/pytest -q -n 2 tests/unit

test-sweeps: $(READY) peers ## all cases of the tests of which `make test` runs a sample (about 2 minutes)
	ADIT_SWEEPS=all $(BIN)/pytest -q -n $(JOBS) tests/integration/api/test_schema.py tests/faults/test_dispatcher_crash.py \
	  tests/integration/dispatch/test_killed_after_every_write.py tests/unit/deid/engine/test_places.py \
	  tests/integration/chart/test_wrong_values.py tests/integration/s3/test_source.py tests/integration/cli/test_demo.py

test-cluster: $(READY) ## the tests that need a Kubernetes: make cluster's, or $$KUBECONFIG
	@ADIT_CLUSTER_REQUIRED=1 tests/cluster/run

test-chaos: $(READY) ## kill each part of the system again and again while a job runs (about 30 minutes; ADIT_CHAOS_SEED repeats it)
	@ADIT_CLUSTER_REQUIRED=1 ADIT_CHAOS=$${ADIT_CHAOS:-all} tests/cluster/run tests/cluster/test_bad_manifests.py \
	  tests/cluster/test_workers_and_cluster.py tests/cluster/test_node_and_images.py tests/cluster/chaos

cluster: $(READY) ## a real Kubernetes with our images on this host (the first time about 12 minutes)
	@tests/cluster/rig/cluster make

cluster-down: ## end it, and all that runs in it
	@tests/cluster/rig/cluster down

images: $(READY) ## build the images that changed, and load them into the cluster
	@tests/cluster/rig/cluster images

lint: $(READY) ## ruff, mypy --strict, and the arrows of the design
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache | tail -n 3

bench: $(READY) peers ## the benchmarks; one JSON object a line on standard output
	@$(BIN)/python -m benchmarks

bench-matrix: $(READY) peers ## files a second from every kind of node to every kind of node, and docs/matrix.png (about 5 minutes)
	@$(BIN)/python -m benchmarks.matrix docs/matrix.png

bench-cluster: $(READY) ## the benchmarks of the whole system in make cluster's Kubernetes
	@benchmarks/cluster/run

# pytest compiles the tests for itself: here once, on the core that mypy leaves idle, and not in each of its processes.
# What cannot be imported the run itself tells.
.PHONY: compiled
compiled: $(READY)
	@$(BIN)/pytest -q --collect-only --ignore tests/cluster > /dev/null 2>&1 || true

.PHONY: peers
peers: $(READY)
	@scripts/debian-packages Orthanc=orthanc $(DICOMWEB)=orthanc-dicomweb storescp=dcmtk pgbouncer=pgbouncer openssl=openssl curl=curl 7z=p7zip-full
	@$(BIN)/python scripts/fetch-helm

.PHONY: chart
chart: $(READY) ## the CRDs in the chart, and docs/values.md
	@$(BIN)/python scripts/make-chart

lock: ## resolve the dependencies anew into requirements.lock
	UV_PYTHON_DOWNLOADS=never uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header --no-annotate --upgrade -q -o requirements.lock
	@$(MAKE) --no-print-directory image-locks

# What an image installs is what the tests ran with: the same versions and hashes.
UV_PART := UV_PYTHON_DOWNLOADS=never uv pip compile -c requirements.lock --universal --generate-hashes --no-header --no-annotate -q
image-locks: ## the images' parts of requirements.lock
	$(UV_PART) pyproject.toml --extra worker --extra pixels -o images/worker/requirements.lock
	$(UV_PART) pyproject.toml --extra receiver -o images/receiver/requirements.lock
	$(UV_PART) pyproject.toml --extra api -o images/api/requirements.lock
	$(UV_PART) pyproject.toml --extra operator -o operator/requirements.lock
	echo hatchling | $(UV_PART) - -o images/build.lock

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
