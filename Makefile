# Everything from a machine that has python3 and make: `make test`, `make demo`.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install test test-quick test-oldest test-onnx matrix docs demo lint types format clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/'

install: $(READY)  ## set up the virtual environment (the targets below do it by themselves)

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[paddle,dev,docs]"
	touch $@

test: $(READY)  ## run the tests, JOBS at a time
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

test-quick: $(READY)  ## run the tests that are not marked slow: for the daily loop
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(ARGS)

test-oldest: $(READY)  ## all but the slowest tests with the oldest Paddle, Python and NumPy, in an empty environment of its own
	$(BIN)/python scripts/matrix.py --oldest

test-onnx: $(READY)  ## the export to ONNX, in an environment of its own with what that needs
	$(BIN)/python scripts/matrix.py --onnx

matrix: $(READY)  ## the smoke tests with every version, and the table in the READMEs: some hours
	$(BIN)/python scripts/matrix.py $(ARGS)

docs: $(READY)  ## build the site in site/, without a warning and with every link checked
	$(BIN)/python scripts/docs_site.py

demo: $(READY)  ## train, prune and fine-tune a small network on real digits
	$(BIN)/python examples/quickstart.py

lint: $(READY)  ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## check the annotations
	$(BIN)/mypy

format: $(READY)  ## mend what `make lint` finds, where it can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and whatever was built or printed
	rm -rf $(VENV) build dist output site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
