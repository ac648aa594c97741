# make demo    the whole job on a bundled sample, from nothing: sets up, selects, tunes and compares, on a CPU
# make test    sets up and passes the tests
# make check   formatter, linter, type checker (make lint) and tests: what CI runs
# make bench   speed and memory, small, beside their goals in one table (10 minutes; CPU)
# make cuda OUT=dir   tests and measurements that want a CUDA device, step by step; needs neither setup nor a network.
#                     WHEELS=dir holds packages that are missing there, MODEL=dir a chat model; ONLY="walk design" names
#                     some steps

PYTHON ?= python3
# On Linux pip may bring CUDA along (several GB). For a CPU build install that into $(VENV) first, then
# make setup TORCH='torch>=2.11'
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo-run

# The environment of `make setup` if it is there, unless PYTHON is given.
CUDA_PYTHON = $(if $(and $(filter file,$(origin PYTHON)),$(wildcard $(BIN)/python)),$(BIN)/python,$(PYTHON))

.PHONY: setup demo test lint check bench cuda clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "g2is needs Python 3.11 or newer, found " + sys.version.split()[0] + "; give another with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/g2is demo --out $(DEMO)

test: setup
	$(BIN)/python -m pytest

check: lint test

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/speed/table.py

cuda:
	@test -n "$(OUT)" || { echo "make cuda: expected OUT=dir, a folder for what is measured, found none" >&2; exit 2; }
	$(CUDA_PYTHON) benchmarks/gpu --out '$(OUT)' $(if $(WHEELS),--wheels '$(WHEELS)') \
		$(if $(MODEL),--model '$(MODEL)') $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache
