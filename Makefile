# make demo    the whole job on a bundled sample, from nothing: sets up, selects, tunes and compares, on a CPU
# make test    sets up and passes the tests
# make long    the tests of tens of seconds that `make test` skips, in some minutes
# make unit    the fast tests alone, in two to three minutes: what to run after each change
# make check   formatter, linter, type checker (make lint) and tests: what CI runs
# make bench   speed and memory, small, beside their goals in one table (10 minutes; CPU)
# make faults  what a run survives (damage, kills, limits, hostile files, odd numbers) in one table; at most 45 minutes
# make floors  the unit tests with the lowest versions that pyproject.toml allows, in an environment of its own
# make docs    the site of docs/, in build/site; what Sphinx warns of is an error, broken links among it
# make audit   known vulnerabilities in the versions of constraints.txt, where their database can be reached
# make cuda OUT=dir   tests and measurements that want a CUDA device, step by step; needs neither setup nor a network.
#                     WHEELS=dir holds packages that are missing there, MODEL=dir a chat model; ONLY="walk design" names
#                     some steps

PYTHON ?= python3
# On Linux pip may bring CUDA along (several GB). For a CPU build install that into $(VENV) first, then
# make setup TORCH='torch>=2.11'
TORCH ?= $(shell grep '^torch==' constraints.txt)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# By uv where it is there: faster. Torch by pip in any case, whose configuration knows where its builds lie.
INSTALL := $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(PIP))
STAMP := $(VENV)/.installed
DEMO ?= demo-run
FLOORS ?= .venv-floors

# Tests start g2is a hundred times, which compiles all its files each time where Python may not keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

# The environment of `make setup` if it is there, unless PYTHON is given.
CUDA_PYTHON = $(if $(and $(filter file,$(origin PYTHON)),$(wildcard $(BIN)/python)),$(BIN)/python,$(PYTHON))

.PHONY: setup demo test long unit lint check bench faults floors docs audit cuda clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "g2is needs Python 3.11 or newer, found " + sys.version.split()[0] + "; give another with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) '$(TORCH)'
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(INSTALL) -c $(VENV)/constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/g2is demo --out $(DEMO)

test: setup
	$(BIN)/python -m pytest

long: setup
	G2IS_LONG=1 $(BIN)/python -m pytest -m long

unit: setup
	$(BIN)/python -m pytest -m "not slow" tests/unit tests/invariants tests/parity

check: lint test

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/speed/table.py

faults: setup
	$(BIN)/python benchmarks/faults

floors:
	test -x $(FLOORS)/bin/python || $(PYTHON) -m venv $(FLOORS)
	$(PYTHON) scripts/floors.py > $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' $(FLOORS)/floors.txt)"
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check -r $(FLOORS)/floors.txt -e .
	$(FLOORS)/bin/python -m pytest -m "not slow" tests/unit tests/invariants tests/parity

docs: setup
	$(INSTALL) -c $(VENV)/constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --doctree-dir build/doctrees -c docs . build/site

audit: setup
	$(PIP) pip-audit
	$(BIN)/python scripts/audit.py $(BIN)/pip-audit

cuda:
	@test -n "$(OUT)" || { echo "make cuda: expected OUT=dir, a folder for what is measured, found none" >&2; exit 2; }
	$(CUDA_PYTHON) benchmarks/gpu --out '$(OUT)' $(if $(WHEELS),--wheels '$(WHEELS)') \
		$(if $(MODEL),--model '$(MODEL)') $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf $(VENV) $(FLOORS) $(DEMO) .pytest_cache .mypy_cache .ruff_cache
