# servax: everything a developer types. `make serve` and `make test` install what they need first.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
HOST   ?= 127.0.0.1
PORT   ?= 8000
ARGS   ?=
TESTS  ?=
# Whole suites run in two processes, each file in one of them: most tests keep one core busy.
SPREAD := --numprocesses 2 --dist loadfile
KERNELS_VENV := .venv-kernels
KERNELS_BIN  := $(KERNELS_VENV)/bin
SDK_VENV     := .venv-sdk

.DEFAULT_GOAL := help
.PHONY: help install serve test test-kernels test-sdk test-postgres test-full check format bench lock clean

help:           ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

install: $(VENV)/.installed ## make .venv with all that serving and testing need

# torch is a test dependency only (parity with transformers). It stands outside the hashed lock
# because its CPU and CUDA builds of one version have different hashes.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "servax needs Python 3.11 or newer; try make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

serve: install ## serve the embedded model on http://HOST:PORT/v1 (ARGS: any servax serve argument)
	exec $(BIN)/servax serve --host $(HOST) --port $(PORT) $(ARGS)

test: install ## every test but the slow ones (TESTS: a path or -k expression)
	$(BIN)/python -m pytest -m "not slow" $(or $(TESTS),$(SPREAD))

test-kernels: $(KERNELS_VENV)/.installed ## compile the kernels for H100 and TPU, and run them in interpreters
	$(KERNELS_BIN)/python -m pytest -m "not slow" tests/kernels $(or $(TESTS),$(SPREAD))

# The compilers for devices that this machine lacks: XLA's CUDA plugin, ptxas and libtpu.
$(KERNELS_VENV)/.installed: requirements.lock Makefile
	$(PYTHON) -m venv $(KERNELS_VENV)
	$(KERNELS_BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	jaxlib=$$($(KERNELS_BIN)/python -c 'import jaxlib; print(jaxlib.__version__)') && \
	$(KERNELS_BIN)/python -m pip install --quiet --no-deps \
		jax-cuda12-pjrt==$$jaxlib jax-cuda12-plugin==$$jaxlib "nvidia-cuda-nvcc-cu12<13" \
		"nvidia-nvjitlink-cu12<13" "nvidia-cuda-runtime-cu12<13" "libtpu==0.0.42.*"
	@touch $@

test-sdk: install $(SDK_VENV)/.installed tests/sdk/node/node_modules/.installed ## the clients of others against a running server
	$(BIN)/python -m pytest tests/sdk $(TESTS)

# LangChain and LiteLLM: they run beside the server and never enter its environment.
$(SDK_VENV)/.installed: tests/sdk/requirements.txt
	$(PYTHON) -m venv $(SDK_VENV)
	$(SDK_VENV)/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

tests/sdk/node/node_modules/.installed: tests/sdk/node/package-lock.json
	npm ci --prefix tests/sdk/node
	@touch $@

test-postgres: install ## tests of storage and jobs on a real PostgreSQL (installed with apt-get if need be)
	tests/with_postgres.sh $(BIN)/python -m pytest tests/api/storage tests/api/workers \
		tests/api/resources/test_files.py tests/api/services/responses \
		-m "not slow" $(TESTS)

test-full: test-postgres ## every test: PostgreSQL, soak, fuzz and large parity too (about an hour on 2 cores)
	$(BIN)/python -m pytest $(TESTS)

check: install ## lint, format, strict types, floors and documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --level error
	$(BIN)/python -m pytest -q tests/house -m "not slow"

format: install ## put the code into its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## the benchmarks that finish in minutes on a laptop; JSON under bench/results
	$(BIN)/python -m bench host --output bench/results/host.json
	$(BIN)/python -m bench compare --output bench/results/compare.json

lock: install ## write requirements.lock and tests/sdk/requirements.txt anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra test-tools \
		--generate-hashes --no-header pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header tests/sdk/requirements.in --output-file tests/sdk/requirements.txt

clean: ## forget .venv and everything built
	rm -rf $(VENV) $(KERNELS_VENV) $(SDK_VENV) dist build .pytest_cache .ruff_cache .hypothesis
