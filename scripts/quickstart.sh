#!/usr/bin/env bash
# Trains the quickstart sweep and draws its phase diagram: about a minute and a half on two CPU cores, after installation.
set -euo pipefail
extras=""
if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then extras="[cuda]"; fi
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "$extras"
workdir=${1:-out/quickstart}
.venv/bin/python scripts/launch_sweep.py --recipe=quickstart --workdir="$workdir"
.venv/bin/python scripts/phase_diagram.py --workdir="$workdir" --x=task.train_fraction --y=optimizer.weight_decay
