"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from cluster.namespaces import shaped_network
from node.config import ENVIRONMENT
from protocol.errors import ZswarmError
from service.config import KEYS_ENVIRONMENT
from tests.outside.commands import write_defaults

# The same examples in every run, and no verdict that depends on how busy the machine is.
settings.register_profile("zswarm", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zswarm")

# A shell starts what runs in the background with SIGINT ignored, nohup ignores SIGHUP, and every program started here
# would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that make network namespaces, each of which removes what killed runs left, run one after another."""
    for item in items:
        if "can_make_namespaces" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("namespaces"))


@pytest.fixture(scope="session", autouse=True)
def _default_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What this machine and its user have set for a peer and a tracker of their own does not matter to the tests."""
    home = tmp_path_factory.mktemp("config")
    write_defaults(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home))
        for variable in (*ENVIRONMENT.values(), KEYS_ENVIRONMENT):
            patch.delenv(variable, raising=False)
        yield


@pytest.fixture
def can_make_namespaces() -> None:
    """The test is skipped, and it is said why, where there can be none."""
    try:
        with shaped_network([]):
            pass
    except ZswarmError as error:
        pytest.skip(str(error))
