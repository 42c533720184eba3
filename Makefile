# Everything a reader needs. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready

# Each of these may also be given on the command line: make run DATASET=~/photos
export DATASET MILVUS_URI MILVUS_TOKEN REDIS_URL COCO_BASE_URL BUILD_DIR DATA_DIR

TEST_ENV := env -u MILVUS_URI -u MILVUS_TOKEN -u REDIS_URL DATASET=sample BUILD_DIR=build/test

.PHONY: help run test test-all test-integration test-browser lab bench sample notebooks reliability scale audit fuzz stop clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

run: $(READY)  ## run all notebooks, write build/html/ and build/results.json
	@$(PY) tools/run_notebooks.py

test: $(READY)  ## ruff, unit tests, tests of the models, all notebooks with their outputs compared
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	@$(TEST_ENV) $(PY) -m pytest -q tests/unit
	@$(TEST_ENV) $(PY) -m pytest -q tests/models
	@$(TEST_ENV) $(PY) -m pytest -q -p no:cacheprovider --nbval \
		--nbval-sanitize-with tests/notebooks/sanitize.cfg --nbval-cell-timeout 900 notebooks; \
		status=$$?; $(TEST_ENV) $(PY) -m helpers.services stop; exit $$status

test-all: test  ## the tests, and the slow ones that need more than this environment
	@$(MAKE) --no-print-directory --keep-going test-integration test-browser

test-integration: $(READY)  ## real servers, faults caused for real, Ray, a large run
	@$(TEST_ENV) $(PY) -m pytest -q -rs --durations=20 $(PYTEST_OPTIONS) tests/integration

test-browser: $(READY)  ## the explorer and the pages in a real browser
	@$(TEST_ENV) $(PY) -m pytest -q -rs --durations=5 $(PYTEST_OPTIONS) tests/browser

lab: $(READY)  ## JupyterLab on this environment
	@$(PY) tools/lab.py

bench: $(READY)  ## photos per second of every way, side by side; writes build/bench.json
	@$(PY) tools/bench.py

notebooks: $(READY)  ## re-execute the committed notebooks in place, on the sample
	@$(TEST_ENV) $(PY) tools/run_notebooks.py --update

sample: $(READY)  ## render the sample photos again (Blender, Python 3.11) and check them
	@data/sample/generator/make.sh

reliability: $(READY)  ## cause every fault, write docs/reliability.md
	@rm -rf build/test/faults
	@$(TEST_ENV) $(PY) -m pytest -q tests/integration/test_faults.py \
		tests/integration/test_notebook_faults.py
	@$(TEST_ENV) $(PY) tools/write_reliability.py

scale: $(READY)  ## measure growth and load on a real Milvus (long)
	@$(PY) tools/measure_scale.py

audit: $(READY)  ## known vulnerabilities in the pinned packages
	@$(PY) -m pip install -q pip-audit==2.10.1
	@$(PY) -m pip_audit -r constraints.txt --no-deps --disable-pip --strict

fuzz: $(READY)  ## fuzz the readers of annotations and weights, a minute each
	@$(PY) -m pip install -q atheris==3.0.0
	@for reader in annotations weights; do \
		$(PY) tests/fuzz/fuzz_readers.py $$reader -max_total_time=60 || exit 1; done

stop: $(READY)  ## stop the embedded Milvus and Redis
	@$(PY) -m helpers.services stop

clean: stop  ## delete build/, keep the downloads in data/
	rm -rf build

$(READY): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV), about a minute and 2.5 GB …"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --editable . 2>/dev/null || \
		$(PY) -m pip install --no-deps --editable .
	@touch $@
