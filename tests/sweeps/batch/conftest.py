import pytest
from batches import Commands


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path)
