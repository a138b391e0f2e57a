# Each target makes the environment it needs (.ci/setup); nothing but Python 3.10+ and make is needed beforehand.
#   make demo ARGS="--kill"        make test ARGS="tests/schema -k codec"        make test PYTHON=/usr/bin/python3.11

ARGS ?=
BIN := .venv/bin
SHELL := /bin/sh
.DEFAULT_GOAL := help
export NO_MKDOCS_2_WARNING := 1
# Every process that a test starts would compile all of the code anew, where the environment forbids to keep it.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help docs reference bitstreams demo fuzz planted soak soak-real test test-armhf test-long test-pynq test-systemd wheelhouse check format clean hls-coverage hls-sanitize hls-reports

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: ## Three boards, a broker, a controller and a gateway classify handwriting; ARGS="--kill" kills a board half way
	@.ci/setup demo
	@$(BIN)/convoy demo $(ARGS)

bitstreams: ## The shells and their modules, where Vivado and Vitis HLS are; ARGS name shells
	@$${PYTHON:-python3} hls/convoy_shells/toolchain.py
	@.ci/setup dev
	@$(BIN)/python -m convoy_shells $(ARGS)

# Tests of whole fleets mostly wait, so that there may be half as many again as there are cores.
WORKERS ?= $(shell expr $$(nproc) \* 3 / 2)

test: ## The tests, in parallel on all cores; ARGS go to pytest
	@.ci/setup dev
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not long and not systemd and not armhf" $(ARGS)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-pynq)
	@echo "make test: passed. Whatever was skipped is listed above with its reason."

test-pynq: ## The board's driver against the real pynq package; `make test` without ARGS runs these too
	@.ci/setup-pynq || { test $$? = 3 && echo "make test-pynq: skipped, see above."; exit; }; \
	  .venv-pynq/bin/python -m pytest -q tests/board

SECONDS ?= 600

fuzz: ## Every decoder against inputs made to break it, for SECONDS in all, by atheris where that can be had
	@.ci/setup dev
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-input --only-binary=:all: "atheris>=2.3" || true
	@$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) $(ARGS)
	@echo "make fuzz: no fault found."

test-systemd: ## The board's service under a real systemd, in namespaces of its own; needs root
	@.ci/setup dev
	@$(BIN)/python -m pytest -m "systemd and not long" tests/systemd $(ARGS)

test-armhf: ## A board's processor under qemu: installs from the wheelhouse and serves LeNet-5; needs root
	@.ci/setup dev
	@$(BIN)/python -m pytest -m armhf tests/armhf $(ARGS)

wheelhouse: ## A folder to install a board from that has no index; ARGS="--python 3.10", or "--check" for what there is
	@.ci/setup dev
	@$(BIN)/python device/wheelhouse/wheelhouse.py $(ARGS)

soak: ## Fleets in virtual time, each from a seed: 20,000 under all faults together; ARGS="--profile all --seed 17 --log"
	@.ci/setup dev
	@PYTHONHASHSEED=0 $(BIN)/python -m convoy_simulator $(ARGS)

planted: ## Plants bugs into the code one at a time, to see that the fleets in virtual time find each; ARGS name bugs
	@.ci/setup dev
	@PYTHONHASHSEED=0 $(BIN)/python tests/simulator/planted_bugs.py $(ARGS)

test-long: ## The tests that take minutes
	@.ci/setup dev
	@$(BIN)/python -m pytest -n logical -m "long and not armhf" $(ARGS)
	@echo "make test-long: passed."

soak-real: ## A million requests through real processes and faults, up to an hour; ARGS="--requests 20000 --seed 7" for less
	@.ci/setup dev
	@$(BIN)/python -m convoy_simulator.real $(ARGS)

hls-coverage: ## Which lines of the HLS headers the tests reach, under g++
	@.ci/setup dev
	@$(BIN)/python tests/hls/hls_quality.py coverage

hls-sanitize: ## The HLS kernels' tests under the address and undefined-behaviour sanitizers
	@.ci/setup dev
	@$(BIN)/python tests/hls/hls_quality.py sanitize

hls-reports: ## Vitis' own reports beside the model of cycles and resources, where Vitis HLS is; ARGS name kernels
	@$${PYTHON:-python3} hls/convoy_hls/vitis.py
	@.ci/setup dev
	@$(BIN)/python -m convoy_hls.reports $(ARGS)

docs: ## The documentation site, into build/site; it can be read from there, without a server
	@.ci/setup dev
	@$(BIN)/mkdocs build --quiet $(ARGS)
	@echo "make docs: build/site/index.html"

check: ## Format, lint, types, layers, documents and their site, and that the wheel is complete
	@.ci/setup dev
	@$(BIN)/ruff format --check --quiet . || { echo "make check: not formatted; run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python .ci/command_reference.py --check
	@$(BIN)/python .ci/grafana_board.py --check
	@$(BIN)/python .ci/grafana_history_board.py --check
	@$(BIN)/python .ci/metrics_reference.py --check
	@$(BIN)/python .ci/api_reference.py --check
	@$(BIN)/python .ci/condition_reference.py --check
	@$(BIN)/python .ci/check_documents.py
	@$(BIN)/mkdocs build --quiet --site-dir build/checked-site
	@$(BIN)/convoy contract --check docs/asyncapi.yaml
	@$(BIN)/python .ci/check_wheel.py
	@echo "make check: passed."

screenshots: ## The README's pictures of the dashboard, from a real demonstration; minutes
	@.ci/setup dev
	@$(BIN)/python .ci/screenshots.py

reference: ## Pages of docs/ that are generated from the code, and the Grafana boards
	@.ci/setup dev
	@$(BIN)/python .ci/command_reference.py
	@$(BIN)/python .ci/api_reference.py
	@$(BIN)/python .ci/condition_reference.py
	@$(BIN)/python .ci/grafana_board.py
	@$(BIN)/python .ci/grafana_history_board.py
	@$(BIN)/python .ci/metrics_reference.py

format: ## Format the code and mend what the linter can
	@.ci/setup dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove the environment and every cache
	rm -rf .venv .venv-pynq .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
