# Two commands to start from: `make serve` and `make test`. Everything else is listed by `make help`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
SDKS := .venv/genai-1.stamp .venv/genai-3.stamp .venv/node.stamp

.DEFAULT_GOAL := help
.PHONY: help serve test test-recordings fuzz soak check format docs lock bench catalogue grid clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Farebox needs Python 3.11 or newer; say PYTHON=/path/to/python3")'
	$(PYTHON) -m venv .venv

.venv/serve.stamp: requirements/serve.txt pyproject.toml | $(BIN)/python
	@echo "Installing Farebox (a minute, the first time) …"
	$(PIP) install --require-hashes -r requirements/serve.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the tests need (a minute or two, the first time) …"
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ .venv/serve.stamp

# Of google-genai no two versions fit one environment: these lie in folders of their own, beside what .venv has.
.venv/genai-%.stamp: requirements/genai-%.txt | .venv/dev.stamp
	rm -rf .venv/genai-$*
	$(PIP) install --require-hashes --target .venv/genai-$* -r $< 2> .venv/genai-$*.log || { cat .venv/genai-$*.log; exit 1; }
	@touch $@

# Without Node the tests of its clients are skipped, each by that name.
.venv/node.stamp: tests/node/package.json tests/node/package-lock.json | .venv/dev.stamp
	@if command -v node >/dev/null && command -v npm >/dev/null; \
	then (cd tests/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) && touch $@; \
	else echo "There is no node (with npm) here: the tests of Node's clients will be skipped."; fi

# Without Go, or a way to its modules, the tests against Stripe's own mock are skipped, and say so.
.venv/stripe-mock.stamp: | .venv/dev.stamp
	@if command -v go >/dev/null && GOBIN=$(CURDIR)/$(BIN) timeout 300 go install github.com/stripe/stripe-mock@v0.203.0; \
	then touch $@; else echo "There is no stripe-mock here: the tests against it will be skipped."; fi

serve: .venv/serve.stamp ## install into .venv and run the gateway (ARGS="--port 4000")
	@exec $(BIN)/farebox up $(ARGS)

test: .venv/dev.stamp $(SDKS) .venv/stripe-mock.stamp ## run every test but the long ones
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak" $(ARGS)

test-recordings: .venv/dev.stamp ## run the tests over recorded provider traffic alone (FAREBOX_RECORDINGS=DIR)
	$(BIN)/python -m pytest -m recordings $(ARGS)

fuzz: .venv/dev.stamp ## the property tests on new random examples (ARGS="--hypothesis-seed 1")
	$(BIN)/python -m pytest -n 2 -m "hypothesis and not soak" --timeout 1800 --hypothesis-profile fuzz $(ARGS)

soak: .venv/dev.stamp ## the long kill and endurance runs
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

check: .venv/dev.stamp ## format, lint, types, layers, tidiness
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/house

format: .venv/dev.stamp ## put the code into the house's form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/dev.stamp ## write the generated tables of docs/ anew
	$(BIN)/python -m tests.docs.generated

grid: .venv/dev.stamp ## play every caller with every provider, print the table, write docs/grid.md
	$(BIN)/python -m tests.grid.table

lock: .venv/dev.stamp ## make the locks anew from pyproject.toml (needs uv, and npm)
	$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml requirements/build.in --extra sandbox -o requirements/serve.txt
	$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml requirements/build.in --all-extras --group dev -o requirements/dev.txt
	for major in 1 3; do $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/genai-$$major.in -o requirements/genai-$$major.txt || exit 1; done
	cd tests/node && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund --loglevel=error
	$(BIN)/python -m tests.node.lean

catalogue: .venv/dev.stamp ## refresh the release's price data from genai-prices
	$(BIN)/farebox catalogue import

bench: .venv/dev.stamp ## CPU a request beside nginx in the same run (a measurement, not a test)
	$(BIN)/python bench/run.py $(ARGS)

clean: ## remove the environment and caches
	rm -rf .venv tests/node/node_modules .mypy_cache .ruff_cache .hypothesis dist
