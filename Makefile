# `make` lists the targets. Each target sets up what it needs; there is nothing to activate. To use
# another Python than python3: `make clean`, then `make PYTHON=python3.13 test`.
PYTHON ?= python3
ARGS ?=
JOBS ?= 4
ROUNDS ?= 30
SEED ?=
SECONDS ?= 60

VENV := .venv
PY := $(VENV)/bin/python
COMPAT := .compat/duckdb-1.5.6
KAFKA := .kafka
FINK := .fink
FINK_CLIENT := fink-client==12.3.0
SIDE_BY_SIDE = -n $(JOBS) --dist loadgroup
JAVA := $(or $(patsubst %,%/bin/java,$(JAVA_HOME)),java)
KAFKA_WHERE_POSSIBLE := $(if $(shell command -v $(JAVA)),$(if $(shell command -v mvn),$(KAFKA)/.ready))
, := ,

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo notebooks test lint types contracts check bench bench-check fmt build clean FORCE
.PHONY: kafka test-kafka test-zones soak sweep chaos fuzz

# Variables of the shell that would change what is installed, imported, shown or tested.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME PYTHONWARNINGS MYPYPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_CONSTRAINT
unexport $(filter LASAIR_ETL_%,$(.VARIABLES))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## list the targets (this text)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.ready-demo ## a broker, simulated alerts, two drains and queries on the result, in ./demo-lake
	@$(VENV)/bin/lasair-etl demo --lake demo-lake $(ARGS)

notebooks: $(VENV)/.ready-dev ## run the notebooks on a simulated lake and store their output
	@$(PY) -m tests.notebooks notebooks

test: $(VENV)/.ready-dev $(COMPAT)/.ready ## run all tests but the soak (ARGS="-k name" goes to pytest, JOBS=0 runs one at a time)
	@$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

soak: $(VENV)/.ready-dev $(COMPAT)/.ready ## run the tests that take long: a million alerts, twice as many made-up examples
	@$(PY) -m pytest $(SIDE_BY_SIDE) -m "soak and not sweep" $(ARGS)
	@FUZZ=1 $(PY) -m pytest $(SIDE_BY_SIDE) tests/unit $(ARGS)

sweep: $(VENV)/.ready-dev $(COMPAT)/.ready ## kill a drain at each write, and damage each part of a catalog; takes very long
	@$(PY) -m pytest $(SIDE_BY_SIDE) -m sweep $(ARGS)

test-zones: $(VENV)/.ready-dev $(COMPAT)/.ready ## run the SQL tests in three time zones
	@for zone in UTC Asia/Tokyo America/St_Johns; do echo "TZ=$$zone"; TZ=$$zone $(PY) -m pytest $(SIDE_BY_SIDE) tests/sql $(ARGS) || exit 1; done

kafka: $(KAFKA)/.ready ## fetch Apache Kafka for the tests, once (needs Java 17 and Maven)

test-kafka: $(VENV)/.ready-dev $(KAFKA)/.ready ## run the flow tests on Apache Kafka instead of the embedded broker
	@$(PY) -m pytest $(SIDE_BY_SIDE) --broker kafka tests/flow $(ARGS)

chaos: $(VENV)/.ready-dev $(KAFKA_WHERE_POSSIBLE) ## inject random faults into drains and readers, and account for every message (ROUNDS=200 SEED=7)
	@$(PY) -m tests.chaos -v --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: $(VENV)/.ready-dev ## try random and broken messages on the decoder (SECONDS=600)
	@$(PY) -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

lint: $(VENV)/.ready-dev ## check format and lint, change nothing
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .

types: $(VENV)/.ready-dev ## run mypy --strict
	@$(PY) -m mypy

contracts: $(VENV)/.ready-dev ## check who may import whom
	@$(VENV)/bin/lint-imports --no-logo

check: lint types contracts ## run lint, types and contracts

bench: $(VENV)/.ready-dev $(FINK)/.ready ## compare a drain with a naive program and a bare consumer
	@$(PY) -m tests.bench $(ARGS)

bench-check: $(VENV)/.ready-dev ## run a short bench; fail if a ratio fell by more than 20 %
	@$(PY) -m tests.bench --quick --rounds 3 --kinds plain,lite --check $(ARGS)

fmt: $(VENV)/.ready-dev ## format, and fix what lint can fix
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

build: $(VENV)/.ready-demo ## build the wheel in ./dist
	@rm -rf dist
	@$(PY) -m hatchling build -t wheel

clean: ## remove everything that make created, also ./demo-lake
	@rm -rf $(VENV) .compat $(KAFKA) $(FINK) dist demo-lake .fuzz .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	@find etl tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ------------------------------------------------------------------------------------------ set-up
# Two sizes: what the demo needs, and the same with the developers' tools. The venv is rebuilt if its
# Python is gone or has changed, or if the checkout moved, because a venv can't be moved.
VENV_IS_VALID := $(shell $(PY) -c 'import pip' 2>/dev/null && grep -qsF -- '-m venv $(CURDIR)/$(VENV)' $(VENV)/pyvenv.cfg && echo yes)

# $(call install,what) is quiet if it works, and prints pip's output if not. It installs the build
# backend first, so that its version is pinned too.
define install
echo "Setting up $(VENV): $(1), versions from constraints.txt. The first time takes up to a minute."; \
{ $(PY) -m pip install -c constraints.txt hatchling && \
  $(PY) -m pip install -c constraints.txt --no-build-isolation -e '$(1)'; } >$(VENV)/pip.log 2>&1 || \
{ cat $(VENV)/pip.log >&2; echo "Setting up $(VENV) failed; see pip's output above." >&2; exit 1; }
endef

$(VENV)/.made: $(if $(VENV_IS_VALID),,FORCE)
	@command -v $(PYTHON) >/dev/null || \
	  { echo "There is no $(PYTHON) here. lasair-etl needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1). lasair-etl needs 3.11 or newer: for example, make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.ready-demo: $(VENV)/.made pyproject.toml constraints.txt
	@$(call install,.[demo])
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.made pyproject.toml constraints.txt
	@$(call install,.[demo$(,)dev])
	@touch $(VENV)/.ready-demo $@

# An older DuckDB, outside the venv: tests use it to read what the newer one published.
$(COMPAT)/.ready: $(VENV)/.made
	@rm -rf $(COMPAT)
	@$(PY) -m pip install --no-deps --target $(COMPAT) duckdb==$(patsubst .compat/duckdb-%,%,$(COMPAT)) >$(VENV)/pip.log 2>&1 || \
	  { cat $(VENV)/pip.log >&2; echo "Setting up $(COMPAT) failed; see pip's output above." >&2; exit 1; }
	@touch $@

# Apache Kafka from Maven Central, and a class archive that halves its start time.
$(KAFKA)/.ready: tests/kafka/pom.xml | $(VENV)/.ready-dev
	@$(JAVA) -version 2>&1 | awk -F '"' '/ version "/ { found = $$2 } END { exit int(found) < 17 }' || \
	  { echo "Apache Kafka needs Java 17 or newer, but $(JAVA) is not. On Debian and Ubuntu: apt-get install openjdk-17-jdk-headless" >&2; exit 1; }
	@command -v mvn >/dev/null || \
	  { echo "Fetching Apache Kafka needs Maven (mvn), which is not here. On Debian and Ubuntu: apt-get install maven" >&2; exit 1; }
	@rm -rf $(KAFKA)
	@mkdir $(KAFKA)
	@echo "Fetching Apache Kafka into $(KAFKA), from tests/kafka/pom.xml. The first time takes up to a minute."
	@mvn -B -C -f tests/kafka/pom.xml dependency:copy-dependencies >$(KAFKA)/mvn.log 2>&1 || \
	  { grep ERROR $(KAFKA)/mvn.log >&2; echo "Fetching Apache Kafka failed; see Maven's errors above, and its log in $(KAFKA)/mvn.log." >&2; exit 1; }
	@$(PY) -m tests.kafka_server
	@touch $@

# The bench compares with this client. It needs many packages that we don't, so it has its own venv; the
# bench runs without it where it can't be installed.
$(FINK)/.ready: | $(VENV)/.ready-dev
	@$(PY) -m venv --clear $(FINK)
	@echo "Installing $(FINK_CLIENT) into $(FINK), to compare with in the bench."
	@$(FINK)/bin/python -m pip install -q $(FINK_CLIENT) || \
	  { rm -rf $(FINK)/bin; echo "It can't be installed here; the bench runs without it." >&2; }
	@touch $@
