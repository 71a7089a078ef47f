"""What several test folders share."""

import os
import re
from pathlib import Path

import pytest
from shared_data import DATA


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long ones out, unless `-m` speaks of them."""
    unnamed = {"nightly", "test_all"} - set(re.findall(r"\w+", config.getoption("markexpr")))
    left_out = [item for item in items if any(mark.name in unnamed for mark in item.iter_markers())]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of shared test data; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip("no shared test data beside this checkout")
    return DATA


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled models go where the tests' other files go."""
    os.environ["ZPIPE_CACHE"] = str(tmp_path_factory.mktemp("models"))


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Ten small pictures."""
    from harness import make_frames

    return make_frames(tmp_path / "ten", 10)
