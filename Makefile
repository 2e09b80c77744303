# Every target does its own set-up; Python 3.11 or newer and make are all that is needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export PYTHONUTF8 = 1

.PHONY: demo test test-slow lint docs bench clean

demo: .stamp-demo
	$(BIN)/corpuskit demo --output corpuskit-demo

test: lint docs
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test-slow: .stamp-dev
	$(BIN)/python -m pytest -m slow

lint: .stamp-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .stamp-dev
	$(BIN)/mkdocs build --strict --quiet

bench: .stamp-bench
	$(BIN)/python rust-free-benchmarks/run.py

# The extras are installed under constraints.txt: the versions that the tests have passed with.
.stamp-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[demo]'
	@touch $@

.stamp-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ .stamp-demo

.stamp-bench: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	@touch $@ .stamp-dev .stamp-demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) .stamp-demo .stamp-dev .stamp-bench site corpuskit-demo .mypy_cache .ruff_cache .pytest_cache
