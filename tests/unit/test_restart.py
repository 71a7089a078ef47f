"""When a dead worker is replaced: histories of deaths, and the delay after each."""

import pytest

from zpipe.rules.restart import (
    CRASHES,
    FIRST_DELAY_S,
    LASTING_FRAMES,
    LASTING_S,
    LONGEST_DELAY_S,
    STARTS,
    Restart,
)


def crash(restart: Restart, frame: int | None, done: int = 0, at_work_s: float = 0.1) -> float | None:
    """One of two workers dies by itself on that frame."""
    restart.ready()
    return restart.crashed(None if frame is None else (0, frame), done, at_work_s, peers=2)


# ---- killed from outside -------------------------------------------------------------------------------------


def test_who_is_killed_after_some_work_is_replaced_at_once() -> None:
    restart = Restart()
    for _ in range(100):
        assert restart.killed(done=1) == 0.0


def test_who_is_killed_again_and_again_is_replaced_more_and_more_slowly_but_always() -> None:
    """Edge 21: twenty SIGKILLs of starting workers in a row ended the run."""
    restart = Restart()
    delays = [restart.killed(done=0) for _ in range(5000)]
    assert delays[:4] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S, 8 * FIRST_DELAY_S]
    assert delays[-1] == LONGEST_DELAY_S
    assert delays == sorted(delays)
    assert restart.killed(done=1) == 0.0
    assert restart.killed(done=0) == FIRST_DELAY_S


def test_kills_say_nothing_about_the_model() -> None:
    restart = Restart()
    restart.failed_to_start()
    for _ in range(100):
        restart.killed(done=0)
    assert restart.failed_to_start() == 2 * FIRST_DELAY_S
    assert not restart.has_crashed


# ---- dead by themselves while starting -----------------------------------------------------------------------


def test_dying_while_starting_is_given_up_soon() -> None:
    restart = Restart()
    delays = [restart.failed_to_start() for _ in range(STARTS)]
    assert delays == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, None]


def test_a_good_start_forgives_the_bad_ones() -> None:
    restart = Restart()
    for _ in range(20):
        for _ in range(STARTS - 1):
            assert restart.failed_to_start() is not None
        restart.ready()


# ---- dead by themselves at work ------------------------------------------------------------------------------


def test_the_first_crash_after_some_work_is_repaired_at_once_the_next_ones_more_and_more_slowly() -> None:
    """Edge 20: 753 restarts in 40 s, because a worker that had finished one frame was replaced at once."""
    restart = Restart()
    delays = [crash(restart, seq, done=1) for seq in range(1, CRASHES)]
    assert delays[:4] == [0.0, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S, 8 * FIRST_DELAY_S]
    assert delays[-1] == LONGEST_DELAY_S
    assert restart.has_crashed


@pytest.mark.parametrize("is_blamed", [True, False])
def test_crashes_that_are_no_frames_fault_end_the_run(is_blamed: bool) -> None:
    """Edge 20: dying after each frame, or between them, ends the run with the reason."""
    restart = Restart()
    delays = [crash(restart, seq if is_blamed else None, done=1) for seq in range(1, CRASHES + 3)]
    assert None not in delays[:-1]
    assert delays[-1] is None


def test_who_dies_of_one_frame_again_and_again_does_not_end_the_run() -> None:
    """`max_attempts` may be a thousand."""
    restart = Restart()
    delays = [crash(restart, 17) for _ in range(1000)]
    assert None not in delays
    assert delays[0] == FIRST_DELAY_S
    assert delays[-1] == LONGEST_DELAY_S


def test_what_a_condemned_frame_has_done_does_not_count() -> None:
    """Every frame is poison: each costs three workers, none ends the run, and it does not become a fork bomb."""
    restart = Restart()
    for seq in range(1, 10 * CRASHES):
        delays = [crash(restart, seq) for _ in range(3)]
        assert None not in delays
        restart.condemned((0, seq))
    assert delays[-1] == LONGEST_DELAY_S


def test_after_a_condemned_frame_and_some_work_it_is_as_if_nothing_had_been() -> None:
    restart = Restart()
    for _ in range(3):
        crash(restart, 17)
    restart.condemned((0, 17))
    assert crash(restart, 40, done=20) == 0.0


@pytest.mark.parametrize("life", [{"done": LASTING_FRAMES}, {"done": 5, "at_work_s": LASTING_S}])
def test_who_has_lasted_is_forgiven(life: dict[str, float]) -> None:
    """A model with a rare crash goes on for ever, each time at once."""
    restart = Restart()
    for seq in range(1, 10 * CRASHES):
        assert crash(restart, seq, **life) == 0.0
