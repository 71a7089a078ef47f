"""The errors: one tree, drawn at the top of its file, each with the exit code that is written there."""

import inspect
import re

import msgspec
import pytest

from zpipe import errors
from zpipe.errors import ConfigError, ModelError, RunFailed, SenderError, WireError, ZpipeError

KINDS = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, ZpipeError)
}  # fmt: skip


def test_the_drawing_shows_them_all_and_their_exit_codes():
    line = r"[├└]── (\w+) .*?(?:exit code (\d)|a `failed` result|counted and dropped)\n"
    drawn = dict(re.findall(line, errors.__doc__))
    assert drawn.keys() == KINDS.keys() - {"ZpipeError"}
    for name, code in drawn.items():
        assert KINDS[name].__base__ is (SenderError if name in ("Fenced", "NoCredit") else ZpipeError)
        if code:
            assert KINDS[name]("it").exit_code == int(code)


def test_a_failed_run_carries_its_own_exit_code():
    assert RunFailed("no model", exit_code=4).exit_code == 4
    assert str(RunFailed("no model", exit_code=4)) == "no model"


def test_each_says_what_it_is():
    for kind in KINDS.values():
        assert kind.__doc__
        assert issubclass(kind, Exception)
    assert (ConfigError.exit_code, ModelError.exit_code, WireError.exit_code) == (3, 4, 1)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", str),
        (b"\xa1\xff", str),
        (b"\xc1", str),
        (b"\x01", str),
        (b"\x91" * 100_000, object),
        (b"\x81\xa1x" + b"\x91" * 100_000, msgspec.defstruct("Any", [])),
        (b"\xdd\xff\xff\xff\xff", list[int]),
        (b"\xdf\xff\xff\xff\xff", dict[str, int]),
        (b"\xcf" + b"\xff" * 8, int),
    ],
)
def test_all_that_msgspec_raises_is_known(data, kind):
    try:
        msgspec.msgpack.decode(data, type=kind)
    except errors.UNDECODABLE:
        return
    assert data[:1] == b"\xcf"  # a number, after all
