# Every target sets up .venv by itself when it is missing or older than setup.cfg.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test bench lint clean

demo: $(STAMP)  ## Train a small pool on built-in data, select three members, fine-tune them; prints two reports.
	$(BIN)/python train.py
	$(BIN)/python select.py
	$(BIN)/python finetune.py

test: $(STAMP)  ## The whole suite, on the CPU and without a network.
	$(BIN)/python -m pytest -q

bench: $(STAMP)  ## Speed and memory, each figure beside a plain version measured in the same run.
	$(BIN)/python -m benchmarks --output runs/benchmarks.json

lint: $(STAMP)  ## Style and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## Remove the environment; data, pools and results below runs/ stay.
	rm -rf $(VENV)

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "muster needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@
