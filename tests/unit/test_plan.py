"""What a run begins with."""

import pytest
from fake_run import NoResults

from zpipe.config.keys import Config, DetectConfig, FramesConfig, IngestConfig, SinkConfig
from zpipe.errors import ZpipeError
from zpipe.run.plan import OTHER_FILES, Place, Plan


def slots(tmp_path, in_flight, files):
    config = Config(
        name="test",
        ingest=[IngestConfig(path="yard", stream="yard")],
        detect=DetectConfig(model="none"),
        sink=SinkConfig(results=str(tmp_path / "results.jsonl")),
        frames=FramesConfig(in_flight=in_flight),
    )
    return Plan(config, Place("run", 2, "", "", files)).ledger(NoResults()).slots


def test_no_more_frames_in_flight_than_files_may_be_open(tmp_path):
    """Edge 28: `in_flight` above `ulimit -n` ended workers with "too many open files"."""
    assert slots(tmp_path, 500, 1024) == 500
    assert slots(tmp_path, "auto", 1024) == 1024 - OTHER_FILES
    with pytest.raises(ZpipeError, match=r"1000 frames in flight .* allows 1024 .*: expected at most 896"):
        slots(tmp_path, 1000, 1024)
    with pytest.raises(ZpipeError, match="expected at most 0"):
        slots(tmp_path, "auto", 100)
