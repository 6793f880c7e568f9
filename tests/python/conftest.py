"""Fixtures of the tests of the package. What tests import stands in package_kit: there is more than one conftest."""

import textwrap

import bridge_host
import pytest
from package_kit import MODES, PACKAGE, _snakepit, needs_extension

__all__ = ["MODES", "PACKAGE", "_snakepit", "needs_extension"]


def pytest_configure(config):
    config.addinivalue_line("markers", "plain: runs no line of the extension, or next to none in much time")


@pytest.fixture
def write(tmp_path):
    """Writes an adapter's file; its path."""

    def make(source, name="adapter.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return path

    return make


@pytest.fixture(params=MODES)
def worker(request, write):
    """Starts workers in each mode: worker(source, ...) is one that is ready."""
    hosts = []

    def make(source, *args, welcome=None, ready=True, **options):
        host = bridge_host.Host(write(source), *args, **{**request.param, **options})
        hosts.append(host)
        if ready:
            host.greeting = host.ready(**(welcome or {}))
            host.tools = host.greeting["tools"]
        return host

    make.mode = request.param
    yield make
    for host in hosts:
        host.__exit__()
