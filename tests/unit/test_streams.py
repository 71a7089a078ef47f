"""The streams of a run by number and by name, and what the record keeps of those that came and went."""

import json
from pathlib import Path

import pytest

from zpipe.config.keys import Config, DetectConfig, IngestConfig, SinkConfig
from zpipe.errors import ResultsError, ZpipeError
from zpipe.results.news import News, SourceAdded, StreamOpened, StreamRemoved
from zpipe.results.record import Record
from zpipe.run import resume, streams
from zpipe.run.plan import Place, Plan
from zpipe.run.resume import Sources, open_results, with_added
from zpipe.run.streams import StreamOrigin, Streams


@pytest.fixture(autouse=True)
def gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called `gate`, and what else begins so, listens."""
    for module in (streams, resume):
        monkeypatch.setattr(module, "listens", lambda entry: str(entry.stream).startswith("gate"))


def make(tmp_path: Path, *names: str) -> Config:
    return Config(
        name="test",
        ingest=[IngestConfig(path=str(tmp_path / name), stream=name) for name in names],
        detect=DetectConfig(model="none"),
        sink=SinkConfig(results=str(tmp_path / "results.jsonl")),
    )


def test_entries_that_listen_are_no_streams(tmp_path: Path) -> None:
    found = Streams(make(tmp_path, "a", "gate", "b"))
    assert [found.name(number) for number in range(len(found))] == ["a", "b"]
    assert [found[number].entry for number in range(len(found))] == [0, 2]
    assert (found.find("b"), found.find("gate"), found.listening) == (1, None, [1])


def test_uploads_of_a_sender_are_numbered(tmp_path: Path) -> None:
    found = Streams(make(tmp_path, "gate"))
    for upload, name in (("A", "gate.alice"), ("B", "gate.alice.2"), ("", "gate.alice.3")):
        origin = found.next_origin(0, "alice", upload)
        assert origin.name == name
        found.add(origin)
    assert (found.of_upload(0, "alice", "B"), found.of_upload(0, "alice", "C"), found.newest_of(0, "alice")) == (
        1,
        None,
        2,
    )
    with pytest.raises(ZpipeError, match=r"there is a stream gate\.alice\.2 already"):
        found.add(StreamOrigin("gate.alice.2", 0))


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ("gate.alice", "alice"), ("gate.alice.2", "alice"), ("gate.a-b_c", "a-b_c"), ("gate-2.bob", "bob"),
        ("gate", None), ("gate.", None), ("gate.alice.x", None), ("gate.alice.2.3", None), ("yard.alice", None),
    ],
)  # fmt: skip
def test_a_stream_is_known_by_its_name_if_a_sender_can_have_opened_it(
    name: str, sender: str | None, tmp_path: Path
) -> None:
    origin = Streams(make(tmp_path, "yard", "gate", "gate-2")).below(name)
    assert (origin.sender if origin else None) == sender


def test_news_are_read_again_as_far_as_they_are_whole(tmp_path: Path) -> None:
    news = News(tmp_path / "news")
    assert news.read() == []
    events = [
        SourceAdded(IngestConfig(path="/more", stream="more", every=2)),
        StreamOpened("gate.alice", "gate", "alice", "A"),
        StreamOpened("gate.bob", "gate", "bob", None),
        StreamRemoved("more"),
    ]
    news.add(*events[:1])
    news.add(*events[1:])
    assert news.read() == events
    whole = news.path.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1])):
        news.path.write_bytes(whole[:-cut])
        assert news.read() == events[:3]
    news.path.write_bytes(b"\xff\n" + whole)
    assert news.read() == []


# ---- a run that is continued ---------------------------------------------------------------------------------


def line(stream: str, seq: int, **more: object) -> bytes:
    return json.dumps({"type": "frame", "run": "r1", "stream": stream, "seq": seq, **more}).encode() + b"\n"


def end(stream: str, seq: int, drained: bool) -> bytes:
    return line(stream, seq, type="eos", drained=drained)


def interrupted(tmp_path: Path, results: bytes, *news: object) -> Path:
    """A run that was killed, with these lines in its results file."""
    path = tmp_path / "results.jsonl"
    path.write_bytes(results)
    record = Record(path)
    record.begin("r1", {})
    record.keep_news(*news)  # type: ignore[arg-type]
    (tmp_path / "run").mkdir()
    return path


def go_on(config: Config, tmp_path: Path) -> Plan:
    """Continue it; its plan, with `plan.ledger_` as it begins."""
    nothing = Sources(lambda *_: pytest.fail("opened"), lambda *_: None)
    results = open_results(config, nothing, {}, "r2", tmp_path / "run", resume=True)
    plan = Plan(config, Place(results.run, 2, "", "", 1024))
    plan.begun = plan.ledger(results)  # type: ignore[attr-defined]
    results.close()
    return plan


def test_streams_that_senders_opened_go_on(tmp_path: Path) -> None:
    lines = line("gate.alice", 1) + end("gate.alice", 2, drained=False) + line("gate.bob", 1) + line("gate.eve", 1)
    lines += end("gate.bob", 2, drained=True)
    known = [StreamOpened("gate.alice", "gate", "alice", "A"), StreamOpened("gate.bob", "gate", "bob", "B")]
    interrupted(tmp_path, lines, *known)
    plan = go_on(make(tmp_path, "gate"), tmp_path)
    assert [plan.streams[number] for number in range(3)] == [
        StreamOrigin("gate.alice", 0, "alice", "A"),
        StreamOrigin("gate.bob", 0, "bob", "B"),
        StreamOrigin("gate.eve", 0, "eve", None),
    ]
    accounts = plan.begun.streams  # type: ignore[attr-defined]
    assert [(account.read, account.closed) for account in accounts] == [(1, True), (1, False), (1, False)]
    assert [stage.name for stage in plan.sources] == ["gate"]
    assert plan.begun.listens  # type: ignore[attr-defined]


def test_streams_of_nobody_are_refused(tmp_path: Path) -> None:
    interrupted(tmp_path, line("gone.alice", 1))
    with pytest.raises(ResultsError, match=r"a stream that the config does not have: gone\.alice"):
        go_on(make(tmp_path, "gate"), tmp_path)


@pytest.mark.parametrize("has_ended", [True, False])
def test_what_was_removed_is_not_read_again(has_ended: bool, tmp_path: Path) -> None:
    """Also if its end was not published when `up` died."""
    lines = line("more", 1) + (end("more", 2, drained=True) if has_ended else b"")
    added = IngestConfig(path=str(tmp_path / "more"), stream="more")
    path = interrupted(tmp_path, lines, SourceAdded(added), StreamRemoved("more"))
    config = with_added(make(tmp_path, "gate"))
    assert [entry.stream for entry in config.ingest] == ["gate", "more"]
    plan = go_on(config, tmp_path)
    (account,) = plan.begun.streams  # type: ignore[attr-defined]
    assert (account.count, account.closed) == (1, has_ended)
    assert [stage.wanted for stage in plan.sources if stage.name != "gate"] == [0]
    assert path.read_bytes() == lines
