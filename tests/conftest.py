"""Settings of all tests."""

import pytest
from hypothesis import settings

# No example is too slow: a test says what is right, on whatever machine it runs.
settings.register_profile("groundr1", deadline=None)
settings.load_profile("groundr1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=4, help="kills at random times, for each run of test_kills.py"
    )
