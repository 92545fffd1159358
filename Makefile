# The commands for people and CI. Everything runs from a local .venv.
PYTHON ?= python3
BIN := .venv/bin
WHEELS ?= wheels
SOURCES := training serving monitoring tests benchmarks safeplan.py
# A worker per core, up to four: each takes 1 GB with its servers.
WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 4 ? cores : 4)))
# Whole files per worker, in the order of tests/support/distribution.py.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-long reliability audit check lint format docs readme words lock wheels clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@# Compile once here: where Python writes no bytecode, each start would compile for 3 s.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/.ready  ## load, train, promote, score and forecast real readings, in ./demo
	$(BIN)/safeplan demo

test: .venv/.ready  ## run all tests, with minimum coverage
	$(PYTEST) --durations=20 --cov --cov-report=
	$(BIN)/python -m tests.support.coverage_minimums
	$(BIN)/python -m tests.support.reliability_report --check

test-fast: .venv/.ready  ## run the quick tests, which need no server, browser or process of their own
	$(PYTEST) --durations=10 -m "not slow and not postgres"

test-long: .venv/.ready  ## run all repetitions of the tests of which make test runs a sample
	SAFEPLAN_TEST_LONG=1 $(PYTEST) --durations=20 -m long

reliability: .venv/.ready  ## run the fault and attack tests, and rewrite docs/reliability.md
	$(PYTEST) -m "fault or attack"
	$(BIN)/python -m tests.support.reliability_report

check: lint  ## check format, lint, types, package structure and the word list

lint: .venv/.ready
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.support.word_list

audit: .venv/.ready  ## check all locked packages for known vulnerabilities
	$(BIN)/python -m tests.support.dependency_audit

format: .venv/.ready  ## format the sources
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: .venv/.ready  ## rewrite docs/cli.md, docs/configuration.md and docs/database.md from the code
	COLUMNS=100 $(BIN)/python -m tests.support.cli_docs > docs/cli.md
	$(BIN)/python -m tests.support.reference_docs

readme: .venv/.ready  ## run the demo and rewrite its output in README.md
	$(BIN)/python -m tests.support.readme_output

words: .venv/.ready  ## update the catalogues in conf/locale with the texts in the code
	$(BIN)/python -m tests.support.translation_catalogues

lock: .venv/.ready  ## resolve pyproject.toml into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--all-extras --group dev pyproject.toml -o requirements.lock

wheels: .venv/.ready  ## download everything that an installation without a network needs, into ./wheels
	mkdir -p $(WHEELS)
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --generate-hashes --constraints requirements.lock \
		pyproject.toml -o $(WHEELS)/requirements.txt
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		-r $(WHEELS)/requirements.txt --dest $(WHEELS)
	$(BIN)/python -m hatchling build -t wheel -d $(abspath $(WHEELS))

clean:  ## remove what make created
	rm -rf .venv demo wheels .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .hypothesis
