# Two commands on a fresh machine with Python 3.11 or newer:  make run   and   make test
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup run check test bench fmt clean lock

# Any Python 3 can start the setup; it looks for one that is new enough itself.
BOOT := $(shell command -v python3 || command -v python3.14 || command -v python3.13 || command -v python3.12 || command -v python3.11)
PY := .venv/bin/python
PEERS := bench/.venv/bin/python
FAST := tests/unit tests/property tests/contract tests/tidy tests/spec tests/docs
DEEP := tests/simulation tests/system tests/security

help:
	@echo "make setup   install everything into .venv (quick when nothing changed)"
	@echo "make run     start a node, deploy examples/hello, call it, stay until Ctrl-C"
	@echo "make check   format, lint, types, import floors, fast tests: under a minute"
	@echo "make test    check, then simulation, system and security tests"
	@echo "make bench   measure this checkout and its peers (bench/out/*.jsonl)"
	@echo "make fmt     format and sort imports"
	@echo "make clean   remove what was built"

setup: .venv/.stamp

.venv/.stamp: requirements.lock pyproject.toml tools/setup.py
	@test -n "$(BOOT)" || { echo "setup: no python3 on PATH: apt install python3 python3-venv" >&2; exit 1; }
	@$(BOOT) tools/setup.py

run: setup
	@exec $(PY) tools/run.py $(ARGS)

check: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports --cache-dir .import_linter_cache
	$(PY) -m pytest $(wildcard $(FAST))

test: check
	$(PY) tools/test_all.py $(DEEP)

bench/.venv/.stamp: bench/requirements.lock tools/setup.py
	@$(BOOT) tools/setup.py --venv bench/.venv --lock bench/requirements.lock --no-project

bench: setup bench/.venv/.stamp
	$(PY) bench/run.py $(ROWS)

fmt: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# Renews the locks; needs uv. Index addresses never enter the files.
lock:
	uv pip compile pyproject.toml --group dev --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header -q --upgrade -o requirements.lock
	uv pip compile --group pyproject.toml:bench --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header -q --upgrade -o bench/requirements.lock

clean:
	rm -rf .venv bench/.venv bench/out .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
