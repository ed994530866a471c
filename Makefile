# Every command of the repository. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

enough := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	if $$name -c '$(enough)' 2>/dev/null; then echo $$name; break; fi; done)
ARGS ?=
SLOW ?=
# Test processes: most tests wait, so two for each core keep the cores busy.
JOBS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
bin := .venv/bin
stamp := .venv/.stamp
ui_built := ui/node_modules/.built
ui_sources := $(shell test ! -d ui || find ui -type f -not -path '*/node_modules/*' -not -name schema.d.ts)

# Hundreds of tests start an interpreter: without its compiled files each would compile all of towerlog again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(stamp) $(if $(wildcard ui/package.json),$(ui_built)) ## make .venv with pinned dependencies, and the dashboard
	@:

# The stamp is written last, so a setup that was interrupted starts again.
$(stamp): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(enough)' 2>/dev/null || \
		{ echo 'Towerlog needs Python 3.11 or newer; name one: make setup PYTHON=/path/to/python3'; exit 1; }
	@echo 'Setting up .venv with pinned packages: one to three minutes, the first time only …'
	@test -x $(bin)/pip || $(PYTHON) -m venv .venv || \
		{ echo 'Python could not make a virtual environment; on Debian and Ubuntu it needs the package python3-venv.'; exit 1; }
	@$(bin)/python -m pip install -qq --disable-pip-version-check --root-user-action=ignore -e '.[dev]' -c constraints.txt
	@touch $@

$(ui_built): $(stamp) $(ui_sources) tools/build_dashboard.py $(shell find src/towerlog/dialects -name '*.py')
	@$(bin)/python tools/build_dashboard.py
	@test ! -d src/towerlog/asgi/pages/ui || { mkdir -p $(@D) && touch $@; }

.PHONY: demo
demo: setup ## start a server and feed it through every dialect but OTLP
	@exec $(bin)/python examples/demo.py $(ARGS)

.PHONY: cluster
cluster: setup ## start PostgreSQL, NATS, three nodes and nginx in front of them (ARGS=… see tools/cluster.py)
	@exec $(bin)/python tools/cluster.py $(ARGS)

.PHONY: test
test: setup ## run the tests (SLOW=1 adds the slow tier, JOBS=… processes, ARGS=… goes to pytest)
	@$(bin)/python -m pytest -p tests.support.progress -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		$(if $(SLOW),,-m 'not slow') $(ARGS)

.PHONY: check
check: setup ## lint, format, types, import contracts, tidiness
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy
	@$(bin)/lint-imports
	@$(bin)/python -m pytest -q tests/tidy
	@$(bin)/python tools/build_dashboard.py check

.PHONY: format
format: setup ## let ruff order imports and lay the code out
	@$(bin)/ruff check --fix-only .
	@$(bin)/ruff format .

.PHONY: bench
bench: setup ## measure against the bare floor, write bench/results.json
	@$(bin)/python bench/run.py $(ARGS)

.PHONY: blocking
blocking: setup ## write the blocking half of the SDK from its asyncio half
	@$(bin)/python tools/blocking_from_async.py

.PHONY: recording
recording: setup ## record a run on a terminal, as the image of the README
	@$(bin)/python tools/record_terminal.py

.PHONY: screenshots
screenshots: setup ## take pictures of every page of the dashboard, to be looked at (ARGS=… their names' beginning)
	@$(bin)/python tools/screenshots.py $(ARGS)

.PHONY: docs
docs: setup ## write the generated parts of the docs
	@$(bin)/python docs/generate.py

.PHONY: clean
clean: ## remove what setup, the tests and the tools have made
	rm -rf src/towerlog/asgi/pages/ui .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist ui/node_modules clients/typescript/{node_modules,dist,build} tests/clients/node_modules tests/clients/.venv tests/sdk/integrations/.venvs
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
