# make run   a fresh machine to a running demonstration        make test  everything that proves it
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: run test lint bench docs mutants soak soak-kill planted-bugs clean setup

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -e '.[dev]' -c constraints.txt
	touch $(READY)

run: $(READY)
	$(BIN)/tarazu demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m bench all

docs: $(READY)
	$(BIN)/python -m risk.document > docs/risk.md

# From nothing, since a test that has become weaker would leave old verdicts as they are. docs/mutation.md has the last run.
mutants: $(READY)
	rm -rf mutants
	$(BIN)/mutmut run --max-children 2
	$(BIN)/python scripts/mutation_score.py

# A month of paper trading in which the real daemon is killed 200 times (about twenty minutes).
KILLS ?= 200
SEED  ?= 1
soak-kill: $(READY)
	$(BIN)/python -m tests.e2e.kill_month --kills $(KILLS) --seed $(SEED)

# Ten thousand simulated days with the full fault profile, a minute or two of one core. docs/simulation.md has the last run.
soak: $(READY)
	$(BIN)/tarazu simulate --seeds 0..999 --days 10 --faults full --coverage

# Faults put into a copy of the code, one at a time: does the simulation see each?
planted-bugs: $(READY)
	$(BIN)/python -m tests.simulation.planted_bugs

clean:
	rm -rf $(VENV) demo mutants build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
