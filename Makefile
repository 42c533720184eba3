# Everything a reader needs. `make help` lists it. GNU make 3.81, which macOS has, is enough.
PY := .venv/bin/python

# Each of these may also be given on the command line: make run DATASET=~/photos
SETTINGS := DATASET MODELS MILVUS_URI MILVUS_TOKEN REDIS_URL COCO_BASE_URL BUILD_DIR DATA_DIR
# They arrive as typed: without this, make would look for variables of its own behind every "$".
as_typed = $(eval override $(1) := $$(value $(1)))$(eval export $(1))
$(foreach name,$(SETTINGS) PYTHON,$(if $(filter-out undefined,$(origin $(name))),$(call as_typed,$(name))))

# Meant for other Pythons than the one in .venv, or for pip outside of an environment.
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP PYTHONINSPECT PYTHONOPTIMIZE
unexport PYTHONWARNINGS PYTHONPLATLIBDIR PYTHONEXECUTABLE PIP_TARGET PIP_PREFIX PIP_PYTHON
export PIP_USER := 0
# Files and terminals are UTF-8, whatever the locale.
export PYTHONUTF8 := 1

TEST_ENV := env -u MODELS -u MILVUS_URI -u MILVUS_TOKEN -u REDIS_URL -u PYTEST_ADDOPTS \
	PYTHON_DOTENV_DISABLED=1 DATASET=sample BUILD_DIR=build/test

# Nothing is installed for this; where the helpers cannot be used, servers may still be running.
stop_services = if [ -x $(PY) ] && $(PY) -c 'import helpers.services' 2> /dev/null; \
	then $(1) $(PY) -m helpers.services stop; \
	elif ls "$${BUILD_DIR:-build}"/services/*.json build/test/services/*.json 2> /dev/null \
		| grep -q .; \
	then echo "Servers that may still run on build/ cannot be stopped, because .venv is not whole:" \
		"run make ready, then this again (where none runs, delete build/ yourself)." >&2; exit 1; \
	fi

LARGE := tests/integration/test_large_run.py tests/integration/test_scale_out.py

.PHONY: help run test test-all test-integration test-servers test-large test-browser lab bench \
	recipes quality sample notebooks reliability scale bench-scale audit fuzz stop clean ready
# Each target takes every core already, and some share build/.
.NOTPARALLEL:

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 18

run: ready  ## run all notebooks, write build/html/ and build/results.json
	@$(PY) tools/run_notebooks.py

# The unit tests in two processes: they mostly wait for others. A file's tests share what they set up.
test: ready  ## ruff, how easy the notebooks are to read, unit tests, tests of the models, all notebooks with their outputs compared
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) tools/measure_notebooks.py
	@$(TEST_ENV) $(PY) -m pytest -q -n 2 --dist loadfile tests/unit
	@$(TEST_ENV) $(PY) -m pytest -q tests/models
	@$(TEST_ENV) $(PY) -m pytest -q -p no:cacheprovider --nbval --nbval-current-env \
		--nbval-sanitize-with tests/notebooks/sanitize.cfg --nbval-cell-timeout 7200 notebooks; \
		status=$$?; $(TEST_ENV) $(PY) -m helpers.services release; exit $$status

test-all: test  ## the tests, and the slow ones that need more than this environment
	@$(MAKE) --no-print-directory --keep-going test-integration test-browser

test-integration: test-servers test-large  ## real servers, faults caused for real, Ray, a large run

test-servers: ready
	@$(TEST_ENV) $(PY) -m pytest -q -rs --durations=20 -o cache_dir=build/test/cache-servers \
		$(PYTEST_OPTIONS) tests/integration $(LARGE:%=--ignore=%)

test-large: ready
	@$(TEST_ENV) $(PY) -m pytest -q -rs --durations=5 -o cache_dir=build/test/cache-large \
		$(PYTEST_OPTIONS) $(LARGE)

test-browser: ready  ## the explorer and the pages in a real browser
	@$(TEST_ENV) $(PY) -m pytest -q -rs --durations=5 -o cache_dir=build/test/cache-browser \
		$(PYTEST_OPTIONS) tests/browser

lab: ready  ## JupyterLab on this environment
	@$(PY) tools/lab.py

bench: ready  ## photos per second of every way, side by side; writes build/bench.json
	@$(PY) tools/bench.py

recipes: ready  ## measure every recipe on DATASET; notebook 5 then shows it
	@$(PY) tools/measure_recipes.py

quality: ready  ## notebooks 4 to 7 and 11 on DATASET; writes docs/quality.json and docs/ladder.svg
	@$(PY) tools/measure_quality.py

notebooks: ready  ## re-execute the committed notebooks in place, on the sample
	@$(TEST_ENV) $(PY) tools/run_notebooks.py --update

sample: ready  ## render the sample photos again (Blender, Python 3.11) and check them
	@tools/sample/make.sh

reliability: ready  ## cause every fault, write docs/reliability.md
	@rm -rf build/test/faults
	@$(TEST_ENV) $(PY) -m pytest -q tests/integration/test_faults.py \
		tests/integration/test_notebook_faults.py
	@$(TEST_ENV) $(PY) tools/write_reliability.py

bench-scale: ready  ## seconds and memory of every notebook at 1000, 5000 and 20000 photos (long)
	@$(PY) tools/bench_photos.py

scale: ready  ## measure growth and load on a real Milvus (long)
	@$(PY) tools/measure_scale.py

audit: ready  ## known vulnerabilities in the pinned packages; docker-compose.yml by its schema
	@$(PY) -m pip install -q pip-audit==2.10.1 check-jsonschema==0.39.0
	@$(PY) -m pip_audit -r constraints.txt --no-deps --disable-pip --strict
	@$(PY) -m check_jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

fuzz: ready  ## fuzz the readers of annotations, photos and weights, a minute each
	@$(PY) -m pip install -q atheris==3.0.0
	@for reader in annotations photos weights; do \
		$(PY) tests/fuzz/fuzz_readers.py $$reader -max_total_time=60 || exit 1; done

stop:  ## stop the embedded Milvus and Redis
	@$(call stop_services)

clean: stop  ## delete build/, keep the downloads in data/
	@[ ! -d build/test/services ] || $(call stop_services,$(TEST_ENV))
	rm -rf build

ready:  # .venv as the requirements say, made or brought up to date where it is not
	@sh tools/install.sh
