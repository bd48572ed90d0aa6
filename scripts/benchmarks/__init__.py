"""The parts of `scripts/benchmark.py`: what is trained, and everyone who trains it."""
