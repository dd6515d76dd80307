"""What the simulations share."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def virtual():
    """The devices of virtual.py."""
    spec = spec_from_file_location("virtual", Path(__file__).with_name("virtual.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
