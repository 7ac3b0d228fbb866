# Every target does the set-up it needs; the set-up is done once and is quick when nothing changed.
#
#   make demo    the main job on the embedded model: serve, solve, critique, revise, evaluate
#   make test    all tests, the real vLLM included      make check   lint, types, architecture, docs
#   make web     the libraries of the web pages, from npm          make dashboards  generate Grafana's dashboards
#   make serve   serve the embedded model               make unit    the quick tests
#   make image   the container image, with Docker or buildah     make image-try   runs it once (buildah)
#   make soak    bursts and long traffic on the real vLLM: many minutes, not part of make test
#
# PYTHON       the interpreter that makes .venv (3.11 or newer)
# TORCH_INDEX  address of PyTorch's CPU wheel index, where pip would not find a CPU build of torch by itself

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKS := requirements/torch-cpu.txt requirements/cpu.lock requirements/dev.lock redraft/assets/package-lock.json
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup model web dashboards demo serve test unit e2e check lint format lock clean bench-overhead bench-parallel bench-critic bench-cft bench-eval bench-train bench-swap bench-cpu bench-lora bench-scale bench-scale-measure bench-accuracy bench-alora bench-peer bench-loops soak image image-try

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

setup: $(READY)

$(READY): $(LOCKS) pyproject.toml
	@echo "== set-up: a virtual environment with the CPU build of vLLM (about 4 GB, 2 to 5 minutes) =="; started=$$SECONDS; \
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'; \
	$(BIN)/python -m pip --version > /dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }; \
	echo "-- torch, CPU build"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -r requirements/torch-cpu.txt; \
	echo "-- vLLM and everything else, from the locks"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/cpu.lock -r requirements/dev.lock; \
	echo "-- redraft"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	echo "-- libraries of the web pages, from npm"; \
	$(BIN)/python -m redraft.assets --optional; \
	$(BIN)/python -c 'import sys, torch; sys.exit(torch.version.cuda and "this torch is a CUDA build: remove .venv and name the address of the CPU wheel index of PyTorch, make TORCH_INDEX=... setup")'; \
	touch $@; echo "== set-up done in $$((SECONDS - started)) s =="

model: $(READY)
	@$(BIN)/redraft model pull

web: $(READY)
	@$(BIN)/python -m redraft.assets

demo: model
	@$(BIN)/python -m benchmarks.demo

serve: model
	@$(BIN)/redraft serve

dashboards: $(READY)
	@$(BIN)/python -m deploy.dashboards

check: lint
	@$(BIN)/python -m deploy.dashboards --check
	@$(BIN)/pytest tests/test_architecture.py tests/test_docs.py tests/deploy

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

unit: $(READY)
	@$(BIN)/pytest -m "not e2e and not gpu" -n 2

e2e: model
	@$(BIN)/pytest -m e2e tests

test: model
	@echo "== unit tests, then the real vLLM on the embedded model (about 20 minutes on 2 slow cores) =="; started=$$SECONDS; \
	$(BIN)/pytest -m "not e2e and not gpu" -n 2; $(BIN)/pytest -m e2e; echo "== tests passed in $$((SECONDS - started)) s =="

bench-overhead: model
	@$(BIN)/python -m benchmarks.serving_overhead

bench-parallel: model
	@$(BIN)/python -m benchmarks.parallel_drafts

bench-critic: model
	@$(BIN)/python -m benchmarks.trained_critic

bench-cft: model
	@$(BIN)/python -m benchmarks.cft_vs_sft

bench-eval: model
	@$(BIN)/python -m benchmarks.eval_efficiency

bench-train: model
	@$(BIN)/python -m benchmarks.train_speed

bench-swap: model
	@$(BIN)/python -m benchmarks.adapter_swap

bench-cpu: model
	@$(BIN)/python -m benchmarks.cpu_engine
	@$(BIN)/python -m benchmarks.cpu_memory

bench-lora: model
	@$(BIN)/python -m benchmarks.cpu_lora

# ADAPTER=folder: one that solves; the embedded model alone gets next to nothing right.
bench-peer: model
	@$(BIN)/python -m benchmarks.loop_peer $(if $(ADAPTER),--adapter $(ADAPTER))

bench-loops: model
	@$(BIN)/python -m benchmarks.loop_engine

bench-alora: model
	@$(BIN)/python -m benchmarks.alora_ttft

bench-scale: $(READY)
	@$(BIN)/python -m benchmarks.scale_simulation simulate

bench-scale-measure: model
	@$(BIN)/python -m benchmarks.scale_simulation measure

# RUNS="runs/vote16 runs/loop": folders of evalsuite runs of one task.
bench-accuracy: $(READY)
	@$(BIN)/python -m benchmarks.accuracy_tokens $(RUNS)

image:
	@deploy/image/build.sh

image-try:
	@deploy/image/try.sh

soak: model
	@$(BIN)/pytest -m soak tests/e2e

# Needs uv. The overrides drop what text serving on a CPU does not use.
lock:
	uv pip compile requirements/cpu.in --override requirements/overrides.txt --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --output-file requirements/cpu.lock
	uv pip compile requirements/dev.in --constraint requirements/cpu.lock --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --output-file requirements/dev.lock

clean:
	rm -rf $(VENV) redraft/assets/dist build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
