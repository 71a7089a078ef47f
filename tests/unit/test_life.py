"""The states of a run: every move from every state is in the table or changes nothing."""

from itertools import product
from typing import get_args

import pytest

from zpipe.rules.life import BEFORE_THE_END, MOVES, Life, Move, State

STATES: tuple[State, ...] = get_args(State)


def life_in(state: State) -> Life:
    life = Life()
    life.state = state
    return life


@pytest.mark.parametrize(("state", "move"), list(product(STATES, get_args(Move))))
def test_a_move_is_in_the_table_or_not_made(state: State, move: Move) -> None:
    life = life_in(state)
    is_listed = (state, move) in MOVES
    assert life.can(move) is is_listed
    assert life.move(move) is is_listed
    assert life.state == MOVES.get((state, move), state)


def test_the_table_has_no_unknown_words() -> None:
    assert {state for state, _ in MOVES} | set(MOVES.values()) == set(STATES)
    assert {move for _, move in MOVES} == set(get_args(Move))


@pytest.mark.parametrize("state", [*BEFORE_THE_END, "lingering"])
def test_whatever_fails_before_the_end_leads_to_stopping(state: State) -> None:
    life = life_in(state)
    assert life.move("fail")
    assert life.state == "stopping"


def test_a_run_that_goes_well() -> None:
    life, states = Life(), []
    for move in ("bound", "started", "published", "left", "over"):
        assert not life.is_ending or move in ("left", "over")
        assert life.move(move)  # type: ignore[arg-type]
        states.append(life.state)
    assert states == ["waiting", "running", "lingering", "stopping", "done"]


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_come_to_the_end_and_none_comes_back(state: State) -> None:
    order = {name: number for number, name in enumerate(STATES)}
    reached, waiting = {state}, [state]
    while waiting:
        now = waiting.pop()
        for (before, _), after in MOVES.items():
            if before == now:
                assert order[after] > order[now]
                if after not in reached:
                    reached.add(after)
                    waiting.append(after)
    assert "done" in reached


@pytest.mark.parametrize("state", STATES)
def test_a_run_is_ending_once_nothing_more_is_published(state: State) -> None:
    assert life_in(state).is_ending is (state in ("lingering", "stopping", "done"))
