#!/usr/bin/env bash
# Sets up .venv and runs linter, type checker and tests. Arguments go to pytest: `bash scripts/test.sh -m slow`.
# With EXTRAS=[test,browser,torch] and a chromium on the PATH nothing is skipped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "${EXTRAS:-[test]}"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest --numprocesses=2 --dist=loadfile "$@"
