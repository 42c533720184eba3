#!/bin/sh
# What `make sample` runs: render what has changed (or ONLY="3 17"), annotate, check, measure.
set -eu
cd "$(dirname "$0")/../.."
python=build/blender-venv/bin/python
if [ ! -x "$python" ]; then
    python3.11 -m venv build/blender-venv
fi
"$python" -m pip install --quiet --requirement tools/sample/requirements.txt
# shellcheck disable=SC2086 # ONLY is a list of ids
"$python" tools/sample/render.py ${ONLY:+--only $ONLY}
"$python" tools/sample/assemble.py
.venv/bin/python -m pytest -q tests/unit/test_sample.py
.venv/bin/python tools/sample/measure.py
