"""Installing gives what the tests passed with."""

import configparser
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINNED = {canonicalize_name(pin.name): pin for pin in PINS if pin.marker is None or pin.marker.evaluate()}


def requirements():
    """What setup.cfg asks for, with all extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    texts = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    return [Requirement(line) for text in texts for line in text.split("\n") if line]


def test_every_requirement_is_pinned_to_a_version_that_it_allows():
    for wanted in requirements():
        (version,) = PINNED[canonicalize_name(wanted.name)].specifier
        assert version.operator == "==", wanted
        assert wanted.specifier.contains(version.version), wanted


def test_what_the_requirements_need_in_turn_is_pinned():
    waiting, seen = [canonicalize_name(wanted.name) for wanted in requirements()], set()
    while waiting:
        name = waiting.pop()
        try:
            needs = metadata.requires(name) if name not in seen else None
        except metadata.PackageNotFoundError:  # an extra that is not installed here
            continue
        seen.add(name)
        asked = [Requirement(text) for text in needs or ()]
        waiting += [canonicalize_name(r.name) for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
    bundled = ("nvidia-", "cuda-", "triton", "setuptools")  # PyTorch names the exact versions of these itself
    assert {name for name in seen if not name.startswith(bundled)} <= PINNED.keys()


def test_the_readme_names_these_versions():
    named = re.findall(r"\b(jax|torch)\s+(\d+\.\d+\.\d+)", (ROOT / "README.md").read_text())
    assert {name for name, _ in named} == {"jax", "torch"}
    for name, version in named:
        assert str(PINNED[name].specifier) == f"=={version}"


def test_the_scripts_install_them():
    text = (ROOT / "scripts" / "environment.sh").read_text()
    assert re.search(r"pip install .*--constraint constraints.txt", text)
    assert re.search(r"wanted=.*constraints.txt", text), "new constraints have to be installed"
    for name in ("quickstart", "test"):
        assert "environment.sh" in (ROOT / "scripts" / f"{name}.sh").read_text()


def test_a_skipped_test_fails_on_ci():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/support/skipped.py"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"CI": "true"}, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert re.search("skipped, though CI=true: .*a_module_that_nobody_has", done.stdout)
