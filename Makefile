# Two commands matter: `make play` and `make test`. Both set up `.venv` on their own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help play test test-long check chaos format docs clean

help:  ## List what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# torch comes first and alone, so that nothing else chooses another version of it.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Realm needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "Setting up $(VENV) (a minute or two, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0
	@$(PIP) -e '.[train,corpus]'
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	@$(PIP) -e '.[train,corpus,test]'
	@$(PIP) -e '.[reasoning-gym]' || echo "No C compiler for reasoning-gym's solver: the tests of its skills are skipped."
	@touch $@

play: $(VENV)/.ready  ## Take a blank model to a promoted champion, on the screen
	@$(BIN)/realm play $(ARGS)

# Files go in their own order: by number of tests, as is usual, those that start processes come last and a core idles.
test: $(VENV)/.ready-test  ## The tests (under 12 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/.ready-test  ## The long tests: ten seeds of `realm play`, big fuzzing; then all tests, with properties drawn anew
	$(BIN)/python -m pytest -m slow --timeout 3600 -s
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --hypothesis-profile=default

chaos: $(VENV)/.ready-test  ## Kill everything at random points, and at every system call of a save
	$(BIN)/python -m pytest -m chaos --timeout 1800 -s

check: $(VENV)/.ready-test  ## Format, lint, types, imports, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/docs

format: $(VENV)/.ready-test  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.ready-test  ## Write the generated parts of the documentation anew
	$(BIN)/python -m realm.cli.reference docs/cli.md
	$(BIN)/python -m realm.cli.recipe_reference docs/recipe-reference.md

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build
