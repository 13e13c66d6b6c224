# `make` lists the targets. Everything is installed into .venv, from hashed requirements.
PYTHON ?= python3
BIN := .venv/bin
# Two processes, for much of it waits; files begin in the order in which they lie there.
PYTEST_PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
PYTEST_ARGS ?=
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-transparency check bench-client bench-coredns bench-flood bench-hostile bench-ingest bench-page bench-processor format docs dashboards lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/ready ## joined DNS traces from real programs, in a lab on this machine
	@$(BIN)/otel-dns demo

test: .venv/ready ## every test, against the real programs (builds those that are missing)
	@$(BIN)/otel-dns programs get --all
	@$(BIN)/pytest $(PYTEST_PARALLEL) $(PYTEST_ARGS)

test-transparency: .venv/ready ## other people's test suites, with and without the instrumentation
	@$(BIN)/python -m tests.transparency $(TRANSPARENCY_ARGS)

check: .venv/ready ## format, lint, types, import directions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench-client: .venv/bench ## what the client costs an application, beside other instrumentations
	@$(BIN)/python -m bench.client $(BENCH_ARGS)

bench-coredns: .venv/ready ## what each evidence level costs CoreDNS, its receiver well and ill (needs dnsperf)
	@$(BIN)/otel-dns programs get coredns
	@$(BIN)/python -m bench.coredns $(BENCH_ARGS)

bench-processor: .venv/ready ## what a span costs in the processor, beside the real Collector
	@$(BIN)/otel-dns programs get otelcol
	@$(BIN)/python -m bench.processor $(BENCH_ARGS)

bench-flood: .venv/ready ## many times what a processor can take: its memory, and service after it
	@$(BIN)/python -m bench.flood $(BENCH_ARGS)

bench-hostile: .venv/ready ## requests made to take memory, and the memory limit
	@$(BIN)/python -m bench.hostile $(BENCH_ARGS)

bench-page: .venv/ready ## what those who look at the page wait for
	@$(BIN)/python -m bench.page $(BENCH_ARGS)

bench-ingest: .venv/ready ## what those who look at the page take from the service that feeds it
	@$(BIN)/python -m bench.page.ingest $(BENCH_ARGS)

format: .venv/ready ## format the code, mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: .venv/ready ## make docs/attributes.md anew
	@$(BIN)/python docs/attributes.py

dashboards: .venv/ready ## make the Grafana dashboards and Kubernetes manifests anew
	@$(BIN)/python -m dashboards

lock: ## choose the versions anew (needs uv)
	uv pip compile pyproject.toml --extra lab --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
	  --output-file requirements.lock

clean: ## remove what make made here (programs stay: otel-dns programs)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bench: .venv/ready bench/requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r bench/requirements.txt
	@touch $@

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v < (3, 11) and sys.exit(f"otel-dns needs Python 3.11 or newer, this is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11")'
	@echo "Installing Python packages into .venv (once, about a minute) ..."
	@$(PYTHON) -m venv .venv || { echo "cannot make a virtual environment: on Debian and Ubuntu, install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@
