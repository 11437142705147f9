# Every target makes what it needs. Nothing has to be installed by hand but Python 3.11 (and Node for the interop tests).

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
NODE_MODULES := tests/interop/node_modules/.stamp

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-cluster check manifests bench bench-operator bench-traces clean redis-server

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) $(NODE_MODULES) ## run the main job on this machine, start to end (ARGS="...")
	@$(BIN)/corral demo $(ARGS)

test: $(STAMP) redis-server $(NODE_MODULES) ## run all tests (ARGS="-k name" for some)
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP) ## lint, formatting, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports

test-cluster: $(STAMP) redis-server $(NODE_MODULES) ## test on a real Kubernetes (the first time compiles it: about 15 min)
	@$(BIN)/python tests/parts/kubernetes_binaries.py && $(BIN)/python tests/parts/images.py && $(BIN)/python tests/parts/kit_images.py
	@$(BIN)/python -m pytest -m cluster $(ARGS)

manifests: $(STAMP) ## render manifests/install.yaml from the chart
	@helm=$$($(BIN)/python tests/parts/helm.py) && $(BIN)/python charts/install_manifest.py "$$helm" manifests/install.yaml

bench: $(STAMP) redis-server $(NODE_MODULES) ## measure jobs per second beside Node's BullMQ
	@$(BIN)/python tests/benchmarks/throughput.py $(ARGS)

bench-operator: $(STAMP) redis-server $(NODE_MODULES) ## measure how soon the operator wakes a pool, and what idle pools cost
	@$(BIN)/python tests/parts/kubernetes_binaries.py && $(BIN)/python tests/benchmarks/waking.py $(ARGS)

bench-traces: $(STAMP) ## play whole loads through the rules, beside a model of KEDA (about 2 min)
	@$(BIN)/python tests/benchmarks/traces.py $(ARGS)

clean: ## remove what make made
	rm -rf $(VENV) dist build tests/interop/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find worker operator manifests tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Corral needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || bash tests/parts/install.sh python3-venv
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[operator,dev]'
	@touch $@

redis-server:
	@command -v redis-server >/dev/null || bash tests/parts/install.sh redis-server

# Without npm this leaves no stamp, and the interop tests say why they skip (with CI set they fail).
$(NODE_MODULES): tests/interop/package.json tests/interop/package-lock.json
	@if command -v npm >/dev/null; then \
		cd tests/interop && npm ci --loglevel=error && touch node_modules/.stamp; \
	else \
		echo "npm is not on PATH: the tests against Node's BullMQ cannot run" >&2; \
	fi
