"""Not collected: `test_installs.py` runs it, to see what a skipped test comes to."""

import pytest


def test_of_something_that_is_not_installed():
    pytest.importorskip("a_module_that_nobody_has")
