# Everything a checkout needs: `make demo` and `make test` do their own set-up (Python >= 3.10 and a package index).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.set-up
OUT    ?= out/demo
WORKERS ?= 2

# Compiled files are kept: without them every process that a test starts compiles the whole package (0.7 s).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check bench clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/'

setup: $(STAMP)  ## Create .venv with everything that running, testing and checking needs

# The stamp is written last and removed first: an interrupted set-up has none and starts from an empty folder, while
# a changed pyproject.toml only installs what is new. auto-LiRPA pins a torch of 2022 in its metadata, so it goes in
# by itself, without its dependencies.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version)'
	test -f $(STAMP) || rm -rf $(VENV)
	rm -f $(STAMP)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[auto-lirpa,onnxruntime,testing,dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps auto-LiRPA==0.3
	touch $(STAMP)

demo: $(STAMP)  ## Attack and verify the shipped digit classifiers; writes out/demo/index.html
	$(BIN)/rbl demo --out $(OUT)

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

check: $(STAMP)  ## Lint and type-check (ruff, mypy --strict, basedpyright)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: $(STAMP)  ## Run every benchmark, side by side with its peers
	$(BIN)/python benchmarks/run.py

clean:  ## Remove the environment and all caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
