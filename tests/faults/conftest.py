"""What the fault tests share: one set of frames, its undisturbed results, and the end of what a failed test leaves."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Pipeline, make_config, make_frames, run

FRAMES = 200


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FRAMES small pictures."""
    return make_frames(tmp_path_factory.mktemp("sources") / "frames", FRAMES)


@pytest.fixture(scope="session")
def calm(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The essence of the results of an undisturbed run over `frames`."""
    return run(make_config(tmp_path_factory.mktemp("calm"), frames))


@pytest.fixture(autouse=True)
def _no_survivors() -> Iterator[None]:
    """End the pipelines that a failed test has left running."""
    yield
    for pipeline in list(Pipeline.living):
        pipeline.process.send_signal(signal.SIGKILL)
        pipeline.process.wait()
        pipeline.ended()
