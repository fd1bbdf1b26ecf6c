# Each target alone makes the virtual environment, installs, and does its job. Nothing but Python is needed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BASE   := $(VENV)/.base
STAMP  := $(VENV)/.installed

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: quickstart house test check docs install clean

quickstart: $(BASE)
	$(BIN)/aepo train quickstart $(if $(RUN),run=$(RUN))

house: $(BASE)
	$(BIN)/aepo train house $(if $(RUN),run=$(RUN))

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --durations=8

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/python -m website

install: $(STAMP)

# What training needs, and no more. torch first and pinned: any other resolution may pull a build with gigabytes of CUDA
# libraries.
$(BASE): pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("aepo-rl needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "torch==2.13.0"
	$(BIN)/python -m pip install --quiet -e .
	touch $(BASE)

# What tests, checks and pages need besides.
$(STAMP): $(BASE)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) website/build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
