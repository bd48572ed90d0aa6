# Sourced by the other scripts: a virtual environment in .venv with this project and the extras in $1 (such as "[test]"),
# in the versions of constraints.txt.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-}
for candidate in python3 python3.13 python3.12 python3.11; do
  if [ -z "$python" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
  fi
done
if [ -z "$python" ]; then
  echo "Python 3.11 or newer is needed; set PYTHON to one" >&2
  exit 2
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
wanted="$1 $(cat setup.cfg pyproject.toml constraints.txt | cksum)"
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
  echo "installing into .venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".$1"
  echo "$wanted" > .venv/installed
fi
