"""When a dead worker is replaced: histories of deaths, and the delay after each."""

from zpipe.rules.restart import FIRST_DELAY_S, KILLED_STARTS, LONGEST_DELAY_S, STARTS, Restart


def test_who_has_done_something_is_replaced_at_once() -> None:
    restart = Restart()
    for _ in range(100):
        restart.ready()
        assert restart.died(was_ready=True, done=1, sigkill=False) == 0.0


def test_who_dies_on_the_first_frame_again_and_again_is_replaced_more_and_more_slowly() -> None:
    restart, delays = Restart(), []
    for _ in range(10):
        restart.ready()
        delays.append(restart.died(was_ready=True, done=0, sigkill=False))
    assert delays[:4] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S, 8 * FIRST_DELAY_S]
    assert delays[-1] == LONGEST_DELAY_S
    assert delays == sorted(delays)


def test_a_frame_that_was_finished_forgives_all() -> None:
    restart = Restart()
    for _ in range(4):
        restart.died(was_ready=True, done=0, sigkill=False)
    restart.died(was_ready=True, done=5, sigkill=False)
    assert restart.died(was_ready=True, done=0, sigkill=False) == FIRST_DELAY_S


def test_dying_while_starting_is_given_up_soon() -> None:
    restart = Restart()
    delays = [restart.died(was_ready=False, done=0, sigkill=False) for _ in range(STARTS)]
    assert delays == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, None]


def test_being_killed_while_starting_is_borne_much_longer() -> None:
    restart = Restart()
    delays = [restart.died(was_ready=False, done=0, sigkill=True) for _ in range(KILLED_STARTS)]
    assert None not in delays[:-1]
    assert delays[-1] is None


def test_a_good_start_forgives_the_bad_ones() -> None:
    restart = Restart()
    for _ in range(20):
        for _ in range(STARTS - 1):
            assert restart.died(was_ready=False, done=0, sigkill=False) is not None
        restart.ready()


def test_the_delay_does_not_overflow() -> None:
    restart = Restart()
    for _ in range(5000):
        delay = restart.died(was_ready=True, done=0, sigkill=False)
    assert delay == LONGEST_DELAY_S
