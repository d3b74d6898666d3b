"""Which tests `make test` leaves to `make test-all`, and the fixtures that many folders use."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from keeprate._file_answers import VARIABLE
from keeprate.plugins import registry as plugins


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept in the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Try fewer made-up examples where slow tests are left out; none fails for a busy processor."""
    settings.register_profile("quick", deadline=None, max_examples=30)
    settings.register_profile("thorough", deadline=None)
    settings.load_profile("quick" if "not slow" in config.option.markexpr else "thorough")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage in what is imported, neither meanwhile nor while tests run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # extensions complain of what is left when the interpreter ends


@pytest.hookimpl(tryfirst=True)  # before pytest drops what the markers of the command line exclude
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow all but a few parameter sets, evenly spread, of a test marked `sample(few)`."""
    parameter_sets = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sample") and not item.get_closest_marker("slow"):
            parameter_sets[item.nodeid.partition("[")[0]].append(item)
    for alike in parameter_sets.values():
        sample = alike[0].get_closest_marker("sample")
        assert sample is not None
        few = sample.args[0]
        quick = {place * len(alike) // few for place in range(few)}
        for index, item in enumerate(alike):
            if index not in quick:
                item.add_marker("slow")


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the working directory an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load plugins anew, and leave the registry of the process as it was."""
    monkeypatch.delenv("KEEPRATE_PLUGINS", raising=False)
    monkeypatch.setattr(plugins, "_active", [])
