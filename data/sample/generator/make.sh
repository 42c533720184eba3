#!/bin/sh
# What `make sample` runs: render what has changed (or ONLY="3 17"), annotate, check, measure.
set -eu
cd "$(dirname "$0")/../../.."
python=build/blender-venv/bin/python
if [ ! -x "$python" ]; then
    python3.11 -m venv build/blender-venv
fi
"$python" -m pip install --quiet --requirement data/sample/generator/requirements.txt
# shellcheck disable=SC2086 # ONLY is a list of ids
"$python" data/sample/generator/render.py ${ONLY:+--only $ONLY}
"$python" data/sample/generator/assemble.py
.venv/bin/python -m pytest -q tests/unit/test_sample.py
.venv/bin/python data/sample/generator/measure.py
