# Every target sets up .venv by itself when it is missing or older than setup.cfg: the package alone for the demo,
# and what tests and lint need besides for those.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.installed
EXTRAS := $(VENV)/.installed-extras
OLDEST := .venv-oldest
INSTALL := -m pip install --quiet --disable-pip-version-check
# Test files (tests/conftest.py: some of them together) are dealt to as many processes as there are cores; each computes on
# one thread. They are dealt in their order: those with few tests last, as xdist has it, would end with the longest of all.
PYTEST := -m pytest -q --numprocesses auto --dist loadfile --no-loadscope-reorder
test test-all test-oldest: export OMP_NUM_THREADS ?= 1

.PHONY: demo study study-tasks test test-all test-oldest bench docs lint clean

demo: $(CORE)  ## Train a small pool on built-in data, select three members, fine-tune them; prints two reports.
	$(BIN)/python train.py
	$(BIN)/python select.py
	$(BIN)/python finetune.py --config configs/finetune/worlds.yaml

study: $(CORE)  ## Every table and figure of a study, on built-in data, reduced.
	$(BIN)/python train.py
	$(BIN)/python train.py --config configs/train/scratch.yaml
	$(BIN)/python train.py --config configs/train/capped.yaml
	$(BIN)/muster study --config configs/study/worlds.yaml

study-tasks: $(CORE)  ## Transfer across task types, on built-in data, reduced.
	$(BIN)/python train.py --config configs/train/tasks.yaml
	$(BIN)/muster study --config configs/study/tasks.yaml

test: $(EXTRAS)  ## The suite, on the CPU and without a network.
	$(BIN)/python $(PYTEST)

test-all: $(EXTRAS)  ## The same with the tests marked slow.
	$(BIN)/python $(PYTEST) -m "slow or not slow"

test-oldest: $(EXTRAS)  ## The suite with the oldest releases that setup.cfg allows, in an environment of its own.
	$(BIN)/python $(INSTALL) uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(OLDEST)
	$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --editable '.[test]'
	$(OLDEST)/bin/python $(PYTEST)

bench: $(EXTRAS)  ## Speed and memory, each figure beside a plain version measured in the same run.
	$(BIN)/python -m benchmarks --output runs/benchmarks.json

docs: $(EXTRAS)  ## The documentation as a site, in build/docs.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

lint: $(EXTRAS)  ## Style and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## Remove the environments; data, pools and results below runs/ stay.
	rm -rf $(VENV) $(OLDEST)

$(CORE): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "muster needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --editable .
	@touch $@

$(EXTRAS): $(CORE)
	$(BIN)/python $(INSTALL) --editable '.[test,lint]'
	@touch $@
