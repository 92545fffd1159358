# The one vocabulary for people, the hook and CI. Everything runs from a local .venv.
PYTHON ?= python3
BIN := .venv/bin
WHEELS ?= wheels
SOURCES := training serving monitoring tests benchmarks safeplan.py

.DEFAULT_GOAL := help
.PHONY: help demo test reliability audit check lint format docs words lock wheels clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@# Compiled once here; otherwise, where Python writes no bytecode, every start would compile for 3 s.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/.ready  ## the whole story on real readings, in ./demo
	$(BIN)/safeplan demo

test: .venv/.ready  ## every test, with coverage floors
	$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=
	$(BIN)/python -m tests.support.coverage_minimums
	$(BIN)/python -m tests.support.reliability_report --check

reliability: .venv/.ready  ## run what is tried against the program, and rewrite docs/reliability.md
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "fault or attack"
	$(BIN)/python -m tests.support.reliability_report

check: lint  ## format, lint, types, floors

lint: .venv/.ready
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: .venv/.ready  ## look every locked package up among the known vulnerabilities
	$(BIN)/python -m tests.support.dependency_audit

format: .venv/.ready  ## rewrite the sources in house style
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: .venv/.ready  ## rewrite docs/cli.md from the program's own help
	COLUMNS=100 $(BIN)/python -m tests.support.cli_docs > docs/cli.md

words: .venv/.ready  ## bring conf/locale up to the sentences the program says
	$(BIN)/python -m tests.support.translation_catalogues

lock: .venv/.ready  ## resolve pyproject.toml anew into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--all-extras --group dev pyproject.toml -o requirements.lock

wheels: .venv/.ready  ## gather everything that an installation without a network needs, in ./wheels
	mkdir -p $(WHEELS)
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --generate-hashes --constraints requirements.lock \
		pyproject.toml -o $(WHEELS)/requirements.txt
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		-r $(WHEELS)/requirements.txt --dest $(WHEELS)
	$(BIN)/python -m hatchling build -t wheel -d $(abspath $(WHEELS))

clean:  ## remove what make made
	rm -rf .venv demo wheels .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .hypothesis
