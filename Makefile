# make compare    the main job: install, compare the methods on the data set that ships, print the table
# make test       lint, types and the quick tests, as CI runs them
# make test-all   the same with every test: nothing is left out
# make docs       the documentation site, in build/site
# make clean      remove the environment and every cache; results in runs/ stay

PYTHON ?= python3
BIN := .venv/bin
METHODS := random attention-score class-attention tome zero-tprune
INSTALL := $(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt

.PHONY: compare test test-all check lint types quick every docs clean

compare: .venv/runtime.stamp
	$(BIN)/keeprate compare --throughput --batch-size 32 $(addprefix --method ,$(METHODS))

# types are checked beside the tests: mypy uses one processor
test: lint
	$(MAKE) --no-print-directory --jobs=2 types quick

test-all: lint
	$(MAKE) --no-print-directory --jobs=2 types every

check: lint types

lint: .venv/development.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: .venv/development.stamp
	$(BIN)/mypy

quick: .venv/development.stamp
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

every: .venv/development.stamp
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m ""

docs: .venv/development.stamp
	$(BIN)/mkdocs build --strict --quiet

.venv/build.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling editables
	touch $@

.venv/runtime.stamp: .venv/build.stamp
	$(INSTALL) --editable .
	touch $@

.venv/development.stamp: .venv/build.stamp
	$(INSTALL) --editable ".[dev,docs]"
	touch $@ .venv/runtime.stamp

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find framework methods datasets reports scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
