# Each target makes the environment it needs (.ci/setup); nothing but Python 3.10+ and make is needed beforehand.
#   make demo ARGS="--kill"        make test ARGS="tests/schema -k codec"        make test PYTHON=/usr/bin/python3.11

ARGS ?=
BIN := .venv/bin
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test test-long check format clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: ## Three boards, a broker, a controller and a gateway classify handwriting; ARGS="--kill" kills a board half way
	@.ci/setup demo
	@$(BIN)/convoy demo $(ARGS)

test: ## The tests, in parallel on all cores; ARGS go to pytest
	@.ci/setup dev
	@$(BIN)/python -m pytest -n logical -m "not long" $(ARGS)
	@echo "make test: passed. Whatever was skipped is listed above with its reason."

test-long: ## The tests that take minutes
	@.ci/setup dev
	@$(BIN)/python -m pytest -n logical -m long $(ARGS)
	@echo "make test-long: passed."

check: ## Format, lint, types, layers, documents, and that the wheel is complete
	@.ci/setup dev
	@$(BIN)/ruff format --check --quiet . || { echo "make check: not formatted; run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python .ci/check_documents.py
	@$(BIN)/python .ci/check_wheel.py
	@echo "make check: passed."

format: ## Format the code and mend what the linter can
	@.ci/setup dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove the environment and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
