# `make` says what each target does. Every target sets up what it needs, and nothing has to be
# activated. Another Python than python3: `make clean`, then `make PYTHON=python3.13 test`.
PYTHON ?= python3
ARGS ?=
JOBS ?= 3
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
.PHONY: kafka test-kafka soak chaos fuzz

# What a shell may carry that would change what is installed, imported, shown or tested.
unexport PYTHONPATH PYTHONHOME PYTHONWARNINGS MYPYPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_CONSTRAINT
unexport $(filter LASAIR_ETL_%,$(.VARIABLES))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## what each target does (this text)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.ready-demo ## broker, simulated alerts, two drains and a look at the result, in ./demo-lake
	@$(VENV)/bin/lasair-etl demo --lake demo-lake $(ARGS)

notebooks: $(VENV)/.ready-dev ## run the notebooks on a simulated lake and store them with what they show
	@$(PY) -m tests.notebooks notebooks

test: $(VENV)/.ready-dev $(COMPAT)/.ready ## all tests but the soak (ARGS="-k name" goes to pytest, JOBS=0 runs one at a time)
	@$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

soak: $(VENV)/.ready-dev $(COMPAT)/.ready ## what takes long: a million alerts, twice as many made-up examples
	@$(PY) -m pytest $(SIDE_BY_SIDE) -m soak $(ARGS)
	@FUZZ=1 $(PY) -m pytest $(SIDE_BY_SIDE) tests/unit $(ARGS)

kafka: $(KAFKA)/.ready ## fetch Apache Kafka for the tests, once (needs Java 17 and Maven)

test-kafka: $(VENV)/.ready-dev $(KAFKA)/.ready ## the flow tests on Apache Kafka instead of the embedded broker
	@$(PY) -m pytest $(SIDE_BY_SIDE) --broker kafka tests/flow $(ARGS)

chaos: $(VENV)/.ready-dev $(KAFKA_WHERE_POSSIBLE) ## faults at random beside drains and readers, all accounted for (ROUNDS=200 SEED=7)
	@$(PY) -m tests.chaos -v --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: $(VENV)/.ready-dev ## messages that nobody thought of, through the decoder (SECONDS=600)
	@$(PY) -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

lint: $(VENV)/.ready-dev ## format and lint, changing nothing
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .

types: $(VENV)/.ready-dev ## mypy --strict
	@$(PY) -m mypy

contracts: $(VENV)/.ready-dev ## who may import whom
	@$(VENV)/bin/lint-imports --no-logo

check: lint types contracts ## lint, types and contracts

bench: $(VENV)/.ready-dev $(FINK)/.ready ## this project's drain beside the naive program and the bare consumer
	@$(PY) -m tests.bench $(ARGS)

bench-check: $(VENV)/.ready-dev ## a short bench, which fails where a ratio fell by more than 20 %
	@$(PY) -m tests.bench --quick --rounds 3 --kinds plain,lite --check $(ARGS)

fmt: $(VENV)/.ready-dev ## format, and mend what lint can mend
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

build: $(VENV)/.ready-demo ## the wheel, in ./dist
	@rm -rf dist
	@$(PY) -m hatchling build -t wheel

clean: ## remove all that make made, ./demo-lake too
	@rm -rf $(VENV) .compat $(KAFKA) $(FINK) dist demo-lake .fuzz .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	@find etl tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ------------------------------------------------------------------------------------------ set-up
# Two sizes: what the demo needs, and that with the developers' tools. A venv is made anew where its
# Python is gone or has become another one, or where the checkout moved: a venv does not move along.
VENV_STANDS := $(shell $(PY) -c 'import pip' 2>/dev/null && grep -qsF -- '-m venv $(CURDIR)/$(VENV)' $(VENV)/pyvenv.cfg && echo yes)

# $(call install,what): quiet when it works, all that pip said when not. The build backend is
# installed first, so that its version is pinned too.
define install
echo "Setting up $(VENV): $(1), versions from constraints.txt. A first time takes up to a minute."; \
{ $(PY) -m pip install -c constraints.txt hatchling && \
  $(PY) -m pip install -c constraints.txt --no-build-isolation -e '$(1)'; } >$(VENV)/pip.log 2>&1 || \
{ cat $(VENV)/pip.log >&2; echo "Setting up $(VENV) failed; pip's words are above." >&2; exit 1; }
endef

$(VENV)/.made: $(if $(VENV_STANDS),,FORCE)
	@command -v $(PYTHON) >/dev/null || \
	  { echo "No $(PYTHON) here. lasair-etl needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1). lasair-etl needs 3.11 or newer: make PYTHON=python3.12, say" >&2; exit 1; }
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

# An older DuckDB, beside the venv: tests read with it what the newer one published.
$(COMPAT)/.ready: $(VENV)/.made
	@rm -rf $(COMPAT)
	@$(PY) -m pip install --no-deps --target $(COMPAT) duckdb==$(patsubst .compat/duckdb-%,%,$(COMPAT)) >$(VENV)/pip.log 2>&1 || \
	  { cat $(VENV)/pip.log >&2; echo "Setting up $(COMPAT) failed; pip's words are above." >&2; exit 1; }
	@touch $@

# Apache Kafka from Maven Central, and the archive of classes that lets it start in half the time.
$(KAFKA)/.ready: tests/kafka/pom.xml | $(VENV)/.ready-dev
	@$(JAVA) -version 2>&1 | awk -F '"' '/ version "/ { found = $$2 } END { exit int(found) < 17 }' || \
	  { echo "Apache Kafka needs Java 17 or newer, and $(JAVA) is not that. On Debian and Ubuntu: apt-get install openjdk-17-jdk-headless" >&2; exit 1; }
	@command -v mvn >/dev/null || \
	  { echo "No Maven (mvn) here, which fetches Apache Kafka. On Debian and Ubuntu: apt-get install maven" >&2; exit 1; }
	@rm -rf $(KAFKA)
	@mkdir $(KAFKA)
	@echo "Fetching Apache Kafka into $(KAFKA), as tests/kafka/pom.xml says. A first time takes up to a minute."
	@mvn -B -C -f tests/kafka/pom.xml dependency:copy-dependencies >$(KAFKA)/mvn.log 2>&1 || \
	  { grep ERROR $(KAFKA)/mvn.log >&2; echo "Fetching Apache Kafka failed; Maven's words are above, all of them in $(KAFKA)/mvn.log." >&2; exit 1; }
	@$(PY) -m tests.kafka_server
	@touch $@

# A peer for the bench, which needs much that we don't: so in a venv of its own, and only where it installs.
$(FINK)/.ready: | $(VENV)/.ready-dev
	@$(PY) -m venv --clear $(FINK)
	@echo "Installing $(FINK_CLIENT) into $(FINK), as a peer for the bench."
	@$(FINK)/bin/python -m pip install -q $(FINK_CLIENT) || \
	  { rm -rf $(FINK)/bin; echo "It does not install here: the bench goes without it." >&2; }
	@touch $@
