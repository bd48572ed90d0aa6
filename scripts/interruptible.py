"""Imported first: from here on Ctrl-C and `kill` end a program with one line, whatever it is doing. Nothing is lost."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "sweeps" / "interruptible.py"  # without `sweeps`, which takes seconds
spec = spec_from_file_location("sweeps_interruptible", FILE)
sys.modules[spec.name] = interruptible = module_from_spec(spec)
spec.loader.exec_module(interruptible)
interruptible.handle()
