# make run and make test do all set-up themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install run test slow matrix lock audit gpu lint clean

install: .venv/installed

run: .venv/installed
	$(BIN)/python -m experiments.nmnist

test: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not optimised"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and optimised"

slow: .venv/tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[onnx]' 'onnxruntime>=1.20'
	$(BIN)/python -m pytest -m slow
	$(MAKE) audit

# The oldest and the newest versions of all that is needed, on two Pythons.
matrix:
	$(PYTHON) tests/matrix.py

# The versions that the tests have passed with; PIP_CONSTRAINT=.ci/constraints.txt installs them.
lock: .venv/tested
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//' > .ci/constraints.txt

# What is known against these versions; asks the network.
audit: | .venv/bin/python
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7'
	.venv/audit/bin/pip-audit --no-deps --disable-pip --requirement .ci/constraints.txt

# Everything that a GPU has to show, in at most eight minutes, in the environment that has it.
gpu:
	$(PYTHON) -m experiments.benchmark --device --json=gpu.json

lint: .venv/tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .pytest_cache .ruff_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	touch $@

.venv/tested: pyproject.toml | .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	# sinabs asks for an older nir than SpikingJelly, and works with the newer one.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'sinabs>=3.1' 'spyx>=1.0' pbr
	touch $@
