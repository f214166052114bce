# `make demo` and `make test` need only Python 3.11 or newer, make and a package index.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo playground test test-fast simulate prove bench lint types format tools requirements \
  clean ci

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z.-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp holds the hash of the requirements, so a second call costs one comparison, and a
# changed pin is never missed because of a file's date.
.venv: .venv/stamp ## Build .venv from the pinned, hashed requirements
.venv/stamp: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

demo: .venv ## Replay the incident of 80,000 differences on this machine
	@$(BIN)/python -m sandbox replay $(ARGS)

playground: .venv ## Open a local Discord in the browser, with bot and site; ARGS="--no-browser"
	@exec $(BIN)/python -m sandbox playground $(ARGS)

# The core's tests are measured, so they run apart. Most others wait for servers, so four at a time
# take hardly longer than one. What plays whole scenarios fills the machine by itself.
WHEN := tests/bot/exts/backend/sync/orchestration
SCENES := tests/sandbox/test_scenarios.py tests/sandbox/test_chaos_programs.py \
  tests/sandbox/test_chaos_seen_to_fail.py tests/sandbox/test_streaming.py
test: .venv ## Run every test that CI runs, with coverage of the pure core
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -n 2 --dist worksteal tests/bot/exts --ignore=$(WHEN) \
	  $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report
	@$(BIN)/python -m pytest $(wildcard $(SCENES)) $(ARGS)
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(addprefix --ignore=,$(SCENES)) $(ARGS) \
	  $(WHEN) $(wildcard tests/bot/test_*.py) $(filter-out %/bot/ %__/,$(wildcard tests/*/))

# No process is started: the site, the local Discord and a little of Valkey live in threads and loops
# of the tests. What is measured is the extension, and by themselves the two edges that only a real
# server shows in full.
FAST := tests/bot/exts tests/fakes tests/baseline tests/simulator $(addprefix \
  tests/e2e/trouble/test_,commands.py typing.py calls.py in_time.py buttons.py control_room.py \
  reporter.py mod_log.py guild_port.py gateway_faults.py)
test-fast: export PYTHONDONTWRITEBYTECODE =
test-fast: .venv ## Run every test that starts no process, with its coverage
	@rm -f .coverage-fast*
	@FAST_TESTS=1 $(BIN)/python -m coverage run --rcfile=tests/fast.coveragerc \
	  -m pytest -q -n 2 --dist worksteal -m "not slow" $(FAST) $(ARGS)
	@$(BIN)/python -m coverage combine --quiet --rcfile=tests/fast.coveragerc
	@$(BIN)/python -m coverage report --rcfile=tests/fast.coveragerc --fail-under=95 \
	  --omit='*/_store/_redis.py,*/_http/client.py'
	@$(BIN)/python -m coverage report --rcfile=tests/fast.coveragerc --fail-under=80 \
	  --include='*/_store/_redis.py,*/_http/client.py'

simulate: .venv ## Play random worlds on virtual time; ARGS="--seconds 60 --seed 1"
	@$(BIN)/python -m tests.simulator $(ARGS)

prove: .venv ## Run what proves more slowly, about an hour, and write it to docs/proofs/
	@$(BIN)/python -m tests.prove $(ARGS)

bench: .venv ## Measure a sync beside the old way; ARGS="--quick", "--strict", "--only PART", "--list"
	@$(BIN)/python -m sandbox bench $(ARGS)

lint: .venv ## Check style, formatting and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@out=$$($(BIN)/lint-imports --no-cache) || { echo "$$out"; exit 1; }; echo "$$out" | tail -n 10

types: .venv ## Check types, strictly, over source and tests
	@$(BIN)/mypy

format: .venv ## Format, and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

tools: ## Fetch Prometheus and Alertmanager from Debian's packages into var/, for the tests
	@.ci/tools

requirements: ## Pin and hash requirements/*.in again (needs uv)
	@for set in bot website dev; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --upgrade requirements/$$set.in -o requirements/$$set.txt || exit 1; \
	done

clean: ## Remove what was built
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .coverage-fast* var
