.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# `make test` runs the tests even if lint fails, and then fails at the end
MAKEFLAGS += --keep-going

.PHONY: help demo test lint pytest format clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(INSTALLED) ## install, then meta-learn sinusoids with MAML: a table and a figure in a minute
	$(BIN)/mamlbench

test: lint pytest ## install, then lint, type checks and all tests

pytest: $(INSTALLED).dev # two tests at a time, one thread each
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

lint: $(INSTALLED).dev ## style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror mamlbench/native/*.[ch]pp
	$(BIN)/mypy

format: $(INSTALLED).dev ## put the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i mamlbench/native/*.[ch]pp

clean: ## remove the virtual environment and caches, never outputs/
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "mamlbench needs Python 3.10 or newer: make PYTHON=python3.11 ..."; exit 2; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv # without python3-venv, Debian's venv has no pip
	$(BIN)/pip install --quiet --editable .
	touch $@

$(INSTALLED).dev: $(INSTALLED) scripts/install_learn2learn.sh
	$(BIN)/pip install --quiet --editable '.[dev]'
	scripts/install_learn2learn.sh $(BIN)/python || test $$? -eq 3 # 3: unsupported Python version
	touch $@
