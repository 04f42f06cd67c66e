# `make help` lists the targets. They need make, Python 3.11 or later and the package index that pip is configured for; they
# use Java 17 and Maven where these are installed. Everything they create is in this folder: `make clean`.

PYTHON ?= python3
UV ?= uv
SEEDS ?= 1000
BASE ?= 0
NAMES ?=
ENGINES ?=
MINUTES ?= 5

BIN := .venv/bin
DEV := .venv/.made
DEMO := .venv-demo/.made
ENGINE := .venv-engine/.made
CLOUDFORMATION := .venv-deploy/.made
CHECK_PYTHON := import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=...")
PIP := -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/pytest -n 2 --durations=15
# The locks name neither this machine nor its index.
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-annotate
AUDIT := pip-audit@2.10.1
LOCKS := requirements.txt requirements-dev.txt requirements-engine.txt requirements-image.txt requirements-deploy.txt

# Where demo and tests find the embedded engine; without this they would install it into the user's cache.
export CONSUMER_DEMO_ENGINE := $(CURDIR)/.venv-engine/bin/python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test proof wheel-test deploy-test image-test sbom audit check simulate guards coverage chaos soak measure bench walk lock clean dynamodb-local

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "make %-15s %s\n", $$1, $$2 }'

demo: ## a worker that is killed and started again on an embedded engine; KEEP=1 leaves it running, to play with
	@$(MAKE) --no-print-directory -j 2 $(DEMO) $(ENGINE)
	@.venv-demo/bin/consumer demo $(if $(KEEP),--keep)

# More processes than cores: these tests wait most of the time.
test: $(DEV) $(ENGINE) dynamodb-local ## all tests except the long ones
	$(PYTEST) -n 4 --dist worksteal -m "not proof and not deploy and not image"

proof: $(DEV) $(ENGINE) dynamodb-local ## the long tests: kills and chaos on real engines
	$(PYTEST) --dist worksteal -m "proof and not deploy and not image" -rP

wheel-test: $(DEV) ## wheel and sdist in clean environments, without the repository (a part of proof)
	$(PYTEST) tests/proof/test_wheel.py

deploy-test: $(DEV) $(ENGINE) $(CLOUDFORMATION) dynamodb-local ## what deploy/ promises, with the real programs
	$(PYTEST) --dist loadscope -m deploy

image-test: $(DEV) $(ENGINE) ## the image, built with buildah on Debian and run read-only (needs root)
	$(BIN)/pytest -m image -rPs

sbom: $(DEV) ## an SBOM and the licences of the worker's packages, into dist/
	$(BIN)/python deploy/sbom.py requirements.txt dist

audit: ## known vulnerabilities of all locked packages (needs uv and the network)
	for lock in $(LOCKS); do $(UV) tool run $(AUDIT) --strict --require-hashes --disable-pip -r $$lock || exit 1; done

check: $(DEV) ## format, lint, types, the direction of imports, dead code, plain English
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/vulture
	$(BIN)/python -m tests.style

simulate: $(DEV) ## SEEDS=1000 simulated runs from BASE=0, on all cores; exit code 1 and the seeds that fail
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --base $(BASE)

guards: $(DEV) ## every clause and rule that exactly-once needs, and the seed that fails without it
	@$(BIN)/python -m tests.simulation.guards

coverage: $(DEV) ## branches of domain and worker that unit tests and simulation reach; at least 95 %
	@$(BIN)/coverage erase
	SIMULATION_SEEDS=300 $(BIN)/coverage run --source=consumer/domain,consumer/worker -m pytest -q tests/unit tests/simulation
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --show-missing --skip-covered --fail-under=95

chaos: SEEDS = 10
chaos: $(DEV) $(ENGINE) ## workers killed and stopped over a splitting stream with faults: one minute per seed, SEEDS=10
	$(BIN)/python -m tests.chaos --seeds $(SEEDS)

soak: $(DEV) $(ENGINE) ## chaos for MINUTES=5; the memory of a worker that is not killed must not grow
	$(BIN)/python -m tests.performance.soak --minutes $(MINUTES)

measure: $(DEV) $(ENGINE) ## speed and cost of workers beside their limits; NAMES='start idle' for some
	@$(BIN)/python -m tests.performance.measure $(NAMES)

bench: $(DEV) $(ENGINE) dynamodb-local ## the worker beside plain handlers, and what a game costs, as Markdown; NAMES='hot idle' and ENGINES=ministack for some
	@$(BIN)/python -m tests.performance.bench $(NAMES) $(if $(ENGINES),--engines $(ENGINES)) $(if $(NAMES)$(ENGINES),,--write)

walk: $(DEV) $(ENGINE) ## the files that run from a page of records to its commit, and in `replay` and `status`
	@$(BIN)/python -m tests.walk

lock: ## write the requirements files with the newest versions (needs uv)
	$(COMPILE) --upgrade pyproject.toml -o requirements.txt
	$(COMPILE) --upgrade pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) --upgrade --group engine -o requirements-engine.txt
	$(COMPILE) --upgrade --group image -c requirements-dev.txt -o requirements-image.txt
	$(COMPILE) --upgrade --group deploy -o requirements-deploy.txt

dynamodb-local: ## fetch DynamoDB Local for the tests, if Java 17 and Maven are installed
	@tests/support/engines/fetch-dynamodb-local .dynamodb-local

clean: ## remove everything that make created here
	rm -rf .venv .venv-demo .venv-engine .venv-deploy .dynamodb-local .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# What the worker needs and no more, so that the demo is seen soon; Python compiles what is imported. The sources stay where
# they are, as after `pip install -e`.
$(DEMO): requirements.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	@echo "Creating .venv-demo: the worker's packages"
	@$(PYTHON) -m venv --clear .venv-demo
	@.venv-demo/bin/python $(PIP) install --no-compile --require-hashes -r requirements.txt
	@echo "$(CURDIR)" > "$$(.venv-demo/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/consumer.pth"
	@printf '#!/bin/sh\nexec "$${0%%/*}/python" -P -m consumer "$$@"\n' > .venv-demo/bin/consumer
	@chmod +x .venv-demo/bin/consumer
	@touch $@

# The environments. `pip install -e` builds with the locked hatchling: everything that is installed has a hash.
.venv/.locked: requirements-dev.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	@echo "Creating .venv"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python $(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

$(DEV): .venv/.locked pyproject.toml
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(ENGINE): requirements-engine.txt
	@echo "Creating .venv-engine: the embedded engine"
	@$(PYTHON) -m venv --clear .venv-engine
	@.venv-engine/bin/python $(PIP) install --no-compile --require-hashes -r requirements-engine.txt
	@touch $@

$(CLOUDFORMATION): requirements-deploy.txt
	@echo "Creating .venv-deploy"
	@$(PYTHON) -m venv --clear .venv-deploy
	@.venv-deploy/bin/python $(PIP) install --require-hashes -r requirements-deploy.txt
	@touch $@
