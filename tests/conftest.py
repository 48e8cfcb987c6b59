"""What the tests share: the seed, and which of the slow ones run."""

import random

import pytest

from superlip.boards import TARGETS
from superlip.sim.cluster import Simulator
from superlip.tools.toolchain import MissingToolError


def pytest_addoption(parser):
    parser.addoption(
        "--seed", type=int, help="seed of the testbenches, to repeat a run; by default a new one each time"
    )


def pytest_configure(config):
    """Slow tests run where they are asked for: by ``-m``, by a test's id, or by ``-k`` in one file."""
    if hasattr(config, "workerinput") or any(word.startswith("-m") for word in config.invocation_params.args):
        return  # a worker of xdist has what was decided here
    named = config.args_source is config.ArgsSource.ARGS
    if named and ((config.option.keyword and len(config.args) == 1) or all("::" in word for word in config.args)):
        config.option.markexpr = ""


@pytest.fixture
def seed(request):
    """Seed of a randomised test; printed, so that a failure can be repeated with ``--seed``."""
    chosen = request.config.getoption("--seed")
    chosen = random.SystemRandom().randrange(1 << 32) if chosen is None else chosen
    print(f"seed {chosen}: repeat with --seed {chosen}")
    return chosen


@pytest.fixture(scope="session")
def tiny():
    """Simulator of the preset ``tiny``; tests that need it are skipped where it can't be built."""
    try:
        return Simulator.build(TARGETS["tiny"])
    except MissingToolError as error:
        pytest.skip(str(error))
