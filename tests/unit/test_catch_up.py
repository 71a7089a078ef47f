"""The gap logic of a subscriber, without a socket: what it asks for, and what it makes of the replies."""

import msgspec
import pytest

from zpipe.errors import ZpipeError
from zpipe.messages import Eos, Published, Result
from zpipe.rules.catch_up import HOW_FAR, CatchUp, Wanted
from zpipe.rules.history import Reply, StreamState

RUN = "run-1"


def frame(seq: int, stream: str = "yard", run: str = RUN) -> Result:
    return Result(run=run, stream=stream, seq=seq, name=f"img{seq}", timestamp=1)


def end(seq: int, stream: str = "yard", run: str = RUN) -> Eos:
    return Eos(run=run, stream=stream, seq=seq, ok=seq - 1, failed=0, dropped=0)


def reply(
    *states: tuple[str, int, bool], lines: list[Published] | None = None, run: str = RUN, more: bool = False
) -> Reply:
    said = [msgspec.json.encode(line) for line in lines or []]
    return Reply(run, [StreamState(*state) for state in states], said, more)


def hear(catch_up: CatchUp, message: Published) -> list[Wanted]:
    return catch_up.hear(msgspec.json.encode(message), message)


def numbers(catch_up: CatchUp) -> list[int]:
    return [message.seq for _, message in catch_up.ready]


def test_before_it_knows_the_streams_it_asks_how_far_they_are() -> None:
    catch_up = CatchUp(first=1)
    assert hear(catch_up, frame(1)) == [HOW_FAR]
    assert not catch_up.ready
    assert catch_up.learn(reply(("yard", 3, False))) == [Wanted("yard", 1)]


def test_live_messages_in_order_need_no_question() -> None:
    catch_up = CatchUp(first=1)
    assert catch_up.learn(reply(("yard", 0, False))) == []
    for message in (frame(1), frame(2), frame(2), frame(1), end(3)):
        assert hear(catch_up, message) == []
    assert numbers(catch_up) == [1, 2, 3]
    assert catch_up.is_done


def test_a_gap_is_asked_for_and_filled() -> None:
    catch_up = CatchUp(first=1)
    catch_up.learn(reply(("yard", 0, False)))
    hear(catch_up, frame(1))
    (wanted,) = hear(catch_up, frame(4))
    assert wanted == Wanted("yard", 2)
    catch_up.fill(wanted, reply(("yard", 4, False), lines=[frame(2), frame(3), frame(4)]))
    assert numbers(catch_up) == [1, 2, 3, 4]
    assert not catch_up.is_behind


def test_a_burst_that_is_not_all_is_followed_by_the_next_one_but_not_for_ever() -> None:
    catch_up = CatchUp(first=1)
    (wanted,) = catch_up.learn(reply(("yard", 9, False)))
    catch_up.fill(wanted, reply(("yard", 9, False), lines=[frame(1), frame(2)]))
    assert catch_up.is_behind
    (wanted,) = catch_up.learn(reply(("yard", 9, False)))
    catch_up.fill(wanted, reply(("yard", 9, False)))
    assert not catch_up.is_behind, "a history that says there is more and has nothing is asked all the time"


@pytest.mark.parametrize(("first", "begins"), [(1, 1), (-5, 1), (7, 7), (99, 11), (None, 11)])
def test_where_it_begins_in_a_stream_that_is_closed(first: int | None, begins: int) -> None:
    catch_up = CatchUp(first=first)
    assert catch_up.learn(reply(("yard", 10, True))) == [Wanted("yard", begins)]


def test_of_another_run_all_is_wanted() -> None:
    catch_up = CatchUp(first=None)
    catch_up.learn(reply(("yard", 10, False)))
    assert catch_up.next == {"yard": 11}
    assert hear(catch_up, frame(5, run="run-2")) == [HOW_FAR]
    assert catch_up.learn(reply(("yard", 5, False), run="run-2")) == [Wanted("yard", 1)]


def test_other_streams_than_the_one_it_reads_do_not_matter() -> None:
    catch_up = CatchUp("a", 1)
    catch_up.learn(reply(("a", 0, False), ("ab", 0, False)))
    assert hear(catch_up, frame(500, "ab")) == []
    with pytest.raises(ZpipeError, match="has no stream 'c': a, ab"):
        CatchUp("c").learn(reply(("a", 0, False), ("ab", 0, False)))


def test_a_stream_that_comes_later_is_read_from_its_first_frame() -> None:
    catch_up = CatchUp()  # with what comes next
    catch_up.learn(reply(("yard", 7, False), more=True))
    assert hear(catch_up, frame(2, "gate.alice")) == [HOW_FAR]
    assert catch_up.learn(reply(("yard", 7, False), ("gate.alice", 2, False), more=True)) == [Wanted("gate.alice", 1)]
    lines = [frame(1, "gate.alice"), frame(2, "gate.alice")]
    catch_up.fill(Wanted("gate.alice", 1), reply(("gate.alice", 2, False), lines=list(lines), more=True))
    assert hear(catch_up, end(3, "gate.alice")) == []
    assert hear(catch_up, end(3, "gate.alice")) == [], "it has ended, and is not new"
    assert numbers(catch_up) == [1, 2, 3]


def test_that_all_have_ended_is_not_the_end_as_long_as_others_may_come() -> None:
    catch_up = CatchUp(first=1)
    assert catch_up.learn(reply(more=True)) == []
    assert not catch_up.is_done
    catch_up.learn(reply(("gate.alice", 0, True), more=True))
    hear(catch_up, end(1, "gate.alice"))
    assert not catch_up.is_done
    catch_up.learn(reply(("gate.alice", 0, True)))
    assert catch_up.is_done


def test_who_wants_one_stream_waits_for_it_and_asks_for_no_other() -> None:
    catch_up = CatchUp("gate.alice", first=1)
    catch_up.learn(reply(("yard", 7, False), more=True))
    assert hear(catch_up, frame(1, "gate.alice.2")) == []
    assert hear(catch_up, frame(1, "gate.alice")) == [HOW_FAR]
    assert catch_up.learn(reply(("gate.alice", 1, False), more=True)) == [Wanted("gate.alice", 1)]
