"""The history's answers, and who is in the audience."""

import msgspec
import pytest

from zpipe.messages import Eos, Result
from zpipe.results.file import ResultsFile
from zpipe.results.publisher import reply_to
from zpipe.rules import limits
from zpipe.rules.history import Audience, LinesRequest, StreamState, read_reply, write_request


def frame(stream, seq):
    return msgspec.json.encode(Result(stream=stream, seq=seq, name="", timestamp=1, run="r1"))


@pytest.fixture
def file(tmp_path):
    """1500 results of `a`, three of `b` and its end; `c` has none."""
    file = ResultsFile(tmp_path / "results.jsonl", fresh=True)
    for seq in range(1, 1501):
        file.append("a", seq, frame("a", seq), "ok")
        if seq <= 3:
            file.append("b", seq, frame("b", seq), "failed")
    end = msgspec.json.encode(Eos(run="r1", stream="b", seq=4, ok=0, failed=3, dropped=0))
    file.append("b", 4, end, None)
    return file


def asked(file, *request, streams=("a", "b", "c"), audience=None):
    reply = reply_to(write_request(LinesRequest(*request)), "r1", list(streams), file, audience or Audience(), 1 << 20)
    return read_reply(reply)


def test_a_question_without_a_stream_tells_how_far_all_are(file):
    reply = asked(file, "me")
    assert (reply.run, reply.lines) == ("r1", [])
    assert reply.streams == [StreamState("a", 1500, False), StreamState("b", 3, True), StreamState("c", 0, False)]


def test_lines_come_from_the_number_asked_for_as_many_as_fit(file):
    assert asked(file, "me", "a", 700).lines == [frame("a", seq) for seq in range(700, 1501)]
    assert asked(file, "me", "a", 1).lines == [frame("a", seq) for seq in range(1, 1001)]
    assert asked(file, "me", "a", 0).lines[0] == frame("a", 1)
    assert asked(file, "me", "a", 1501).lines == []
    assert [msgspec.json.decode(line)["type"] for line in asked(file, "me", "b", 3).lines] == ["frame", "eos"]


def test_a_stream_that_does_not_exist_has_no_lines_and_costs_no_memory(file):
    before = dict(file.streams)
    assert asked(file, "me", "nobody's", 1).lines == []
    assert asked(file, "me", "x" * 255, (1 << 63) - 1).lines == []
    assert file.streams.keys() <= before.keys() | {"c"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"hello",
        msgspec.msgpack.encode(["me", "a", 1, False, 1]),
        msgspec.msgpack.encode(["me", "a", -1]),
        msgspec.msgpack.encode(["me", "a", 1 << 63]),
        msgspec.msgpack.encode(["me", "a", 1.5]),
        msgspec.msgpack.encode(["me", "x" * 256, 1]),
        msgspec.msgpack.encode(["x" * 65, "a", 1]),
        msgspec.msgpack.encode([b"me", "a", 1]),
        msgspec.msgpack.encode({"subscriber": "me"}),
        write_request(LinesRequest("me", "ab")).replace(b"ab", b"\xff\xfe"),
        write_request(LinesRequest("me")) + b"\xc0",
        b"\x94" + b"\x91" * 3000,
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_what_is_no_question_is_not_answered(file, data):
    assert reply_to(data, "r1", ["a"], file, Audience(), 1 << 20) is None


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\xa1r\x90", b"\x93\xa1\xff\x90\x90", b"\x94" + b"\x91" * 100_000])
def test_what_is_no_reply_is_a_decode_error(data):
    with pytest.raises(msgspec.DecodeError):
        read_reply(data)


def test_the_longest_question_fits():
    longest = LinesRequest("ÿ" * 64, "€" * 255, (1 << 63) - 1, True)
    assert len(write_request(longest)) <= limits.MAX_REQUEST_BYTES


# ---- the audience -------------------------------------------------------------------------------------------


def heard(*events):
    audience = Audience()
    for event in events:
        audience.heard(event)
    return audience


@pytest.mark.parametrize("topic", [b"", b"res", b"results/", b"results/yard"])
def test_who_subscribes_to_results_is_counted(topic):
    assert heard(b"\x01" + topic).subscribers == 1
    assert heard(b"\x01" + topic, b"\x01" + topic, b"\0" + topic).subscribers == 1
    assert heard(b"\x01" + topic, b"\0" + topic, b"\0" + topic).subscribers == 0


@pytest.mark.parametrize("event", [b"", b"\x02results/", b"results/", b"\x01weather", b"\0weather", b"\xff"])
def test_what_is_no_subscription_to_results_changes_nothing(event):
    audience = heard(b"\x01results/", b"\x01subscriber/me", event)
    assert (audience.subscribers, audience.behind) == (1, {b"me"})


def test_a_subscriber_is_behind_until_it_says_otherwise_or_leaves(file):
    audience = heard(b"\x01subscriber/me", b"\x01results/", b"\x01subscriber/you", b"\x01results/")
    assert (audience.subscribers, audience.behind) == (2, {b"me", b"you"})
    asked(file, "me", "a", 1, audience=audience)
    assert audience.behind == {b"me", b"you"}
    asked(file, "me", None, 1, True, audience=audience)
    assert audience.behind == {b"you"}
    asked(file, "somebody", None, 1, True, audience=audience)
    audience.heard(b"\0subscriber/you")
    audience.heard(b"\0subscriber/me")
    assert audience.behind == set()


def test_who_is_cut_off_before_it_has_everything_may_come_back(file):
    audience = heard(b"\x01subscriber/me", b"\x01subscriber/you", b"\0subscriber/me", b"\0subscriber/you")
    assert (audience.behind, audience.gone) == (set(), {b"me", b"you"})
    audience.heard(b"\x01subscriber/me")
    assert (audience.behind, audience.gone) == ({b"me"}, {b"you"})
    asked(file, "you", None, 1, True, audience=audience)  # its farewell came by the other socket
    asked(file, "me", None, 1, True, audience=audience)
    audience.heard(b"\0subscriber/me")
    assert (audience.behind, audience.gone) == (set(), set())


def test_those_who_were_there_before_are_expected_until_they_come():
    audience = Audience(expected=2)
    assert len(audience.gone) == 2
    audience.heard(b"\x01subscriber/me")
    assert len(audience.gone) == 1
    audience.heard(b"\0subscriber/me")
    audience.heard(b"\x01subscriber/me")  # the same again, not the other
    assert (audience.behind, len(audience.gone)) == ({b"me"}, 1)
    audience.heard(b"\x01subscriber/you")
    audience.heard(b"\x01subscriber/they")
    assert (audience.behind, audience.gone) == ({b"me", b"you", b"they"}, set())


def test_plain_subscribers_are_those_that_are_not_zpipes():
    ours = [b"\x01results/", b"\x01subscriber/me"]
    assert heard(*ours).plain == 0
    assert heard(*ours, b"\x01results/yard", b"\x01").plain == 2
    assert heard(*ours, b"\x01results/yard", b"\0results/", b"\0subscriber/me").plain == 1
