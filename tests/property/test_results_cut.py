"""A results file cut anywhere is what was whole before the cut, and every line is found from every number."""

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zpipe.messages import Eos, Result
from zpipe.results.file import ResultsFile

STREAMS = ["a", "ab", "ö"]

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_line(stream, seq, kind):
    if kind is None:
        return msgspec.json.encode(Eos(run="r", stream=stream, seq=seq, ok=seq - 1, failed=0, dropped=0))
    pad = "\n\r\x85\u2028" * (seq % 3)  # what other readers take for the end of a line is none in here
    return msgspec.json.encode(Result(run="r", stream=stream, seq=seq, name=pad, status=kind, timestamp=seq))


@st.composite
def histories(draw):
    """(stream, seq, kind) in an order in which a sink could write them; kind None: end of stream."""
    lengths = {stream: draw(st.integers(0, 150)) for stream in STREAMS}
    kinds = draw(st.lists(st.sampled_from(["ok", "failed"]), min_size=1, max_size=5))
    left = dict.fromkeys(STREAMS, 1)
    found = []
    order = draw(st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(1, 60)), max_size=20))
    for stream, count in order:
        for _ in range(count):
            seq = left[stream]
            if seq <= lengths[stream]:
                found.append((stream, seq, kinds[seq % len(kinds)]))
            elif seq == lengths[stream] + 1:
                found.append((stream, seq, None))
            left[stream] += 1
    return found


def account(history):
    """What a file of these lines must say of each stream."""
    found = {}
    for stream, seq, kind in history:
        ok, failed, _ = found.get(stream, (0, 0, False))
        found[stream] = (ok + (kind == "ok"), failed + (kind == "failed"), kind is None)
        assert sum(found[stream]) == seq
    return found


def account_of(file):
    return {name: (log.ok, log.failed, log.closed) for name, log in file.streams.items() if log.seq or log.closed}


@relaxed
@given(histories(), st.data())
def test_a_file_cut_anywhere_goes_on(tmp_path, history, data):
    path = tmp_path / "results.jsonl"
    file = ResultsFile(path, fresh=True)
    for stream, seq, kind in history:
        file.append(stream, seq, make_line(stream, seq, kind), kind)
    file.close()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    file = ResultsFile(path, fresh=False)
    assert path.read_bytes() == whole[: whole[:cut].rfind(b"\n") + 1]
    assert account_of(file) == account(history[:kept])
    for stream, seq, kind in history[kept:]:
        file.append(stream, seq, make_line(stream, seq, kind), kind)
    file.close()
    assert path.read_bytes() == whole


@relaxed
@given(histories(), st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(1, 200), st.integers(1, 100)), min_size=5))
def test_every_line_is_found_from_every_number(tmp_path, history, questions):
    file = ResultsFile(tmp_path / "results.jsonl", fresh=True)
    lines = {stream: [] for stream in STREAMS}
    for stream, seq, kind in history:
        lines[stream].append(make_line(stream, seq, kind))
        file.append(stream, seq, lines[stream][-1], kind)
    for stream, first, most in questions:
        assert file.lines(stream, first, most) == lines[stream][first - 1 : first - 1 + most]
    file.close()
