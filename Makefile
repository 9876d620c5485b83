# Short names for the commands of CONTRIBUTING.md; everything runs in .venv.
PYTHON = .venv/bin/python

.PHONY: setup test lint format bench docs

setup: ## everything a developer needs
	python3 quickstart.py setup

test: ## pytest with ARGS, e.g. make test ARGS="-k conv -n 0"
	python3 quickstart.py test $(ARGS)

lint: setup
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

format: setup
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

bench: setup ## the measured numbers of the README
	$(PYTHON) benchmarks/run.py

docs: setup ## the pages that are generated
	$(PYTHON) docs/generate.py
