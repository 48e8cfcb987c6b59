"""What the tests share: the seed."""

import random

import pytest


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, help="seed of the benches, to repeat a run; by default a new one each time")


@pytest.fixture
def seed(request):
    """Seed of a randomised test; printed, so that a failure can be repeated with ``--seed``."""
    chosen = request.config.getoption("--seed")
    chosen = random.SystemRandom().randrange(1 << 32) if chosen is None else chosen
    print(f"seed {chosen}: repeat with --seed {chosen}")
    return chosen
