# `make` lists the targets. Each one makes .venv on its first run, with the versions of constraints.txt, and finds it
# ready on the next: a stamp file in .venv is newer than pyproject.toml and constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help demo test coverage check bench docs format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

# --- the demo: English to French on a laptop, from nothing to a translator ----------------------------------------

demo: .venv/with-text-plot ## train an English-French translator and translate with it (minutes, 2 cores)
	@echo "1. Sample sentence pairs: demo/train.tsv to learn from, demo/held_out.tsv to be tested on."
	$(BIN)/recurra sample english-french --out demo --overwrite
	@echo "2. Train. Stop with Ctrl-C at any time; the command printed then goes on from there."
	$(BIN)/recurra fit translate demo/train.tsv --out runs/demo --overwrite --epochs 6 --encoder-layers 1 \
		--decoder-layers 1 --vocab-size 3600 --batch-tokens 700 --dropout 0.1 --label-smoothing 0.05 \
		--validation-fraction 0.02 --length-penalty 1
	@echo "3. Score it on sentences it never saw."
	$(BIN)/recurra evaluate runs/demo demo/held_out.tsv
	@echo "4. Greet it, translate, and look at where it attends: runs/demo/attention.png."
	printf '%s\n' hello 'good morning' 'thank you' goodbye 'how are you' 'The museum opens at quarter past eleven.' \
		| $(BIN)/recurra predict runs/demo --attention runs/demo/attention.png
	@echo "Your turn, with a greeting and with a sentence of your own:"
	@echo "  echo 'Good evening, Claire! How are you today?' | $(BIN)/recurra predict runs/demo"
	@echo "  echo 'We are going to the market tomorrow.' | $(BIN)/recurra predict runs/demo"

# --- for contributors ----------------------------------------------------------------------------------------------

# one thread each: the tests run side by side, and their tensors are small
test: .venv/with-dev ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

coverage: .venv/with-dev ## the same, a quarter slower, with the branches that no test takes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term-missing:skip-covered

check: .venv/with-dev ## formatting, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/with-dev ## put the code in the form that `make check` asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/with-dev ## speed against torch.nn, after the tests of what is measured
	$(BIN)/python -m benchmarks

docs: .venv/with-docs ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove .venv and everything that is built
	rm -rf .venv site build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# --- the environment -----------------------------------------------------------------------------------------------

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/with-text-plot: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[text,plot]'
	@touch $@

.venv/with-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[dev]'
	@touch $@

.venv/with-docs: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) '.[docs]'
	@touch $@
