"""`zpipe up` in a terminal (a pty, and what pyte makes of what comes out of it)."""

import fcntl
import os
import select
import struct
import subprocess
import termios
from pathlib import Path

import pyte
import pytest
from harness import make_config, make_frames

from zpipe.engines.local import ZPIPE
from zpipe.show import terminal
from zpipe.show.outlet import Outlet

pytestmark = pytest.mark.test_all

HEIGHT = 30
CAMERAS = ("north-gate-camera", "south-gate-camera", "west-gate-camera")


class Seen:
    """A command in a terminal, as a person sees it."""

    def __init__(self, width: int, *command: str | Path) -> None:
        self.screen = pyte.Screen(width, HEIGHT)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = os.openpty()
        self.resize(width)
        self._process = subprocess.Popen([*ZPIPE, *command], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def resize(self, width: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, width, 0, 0))
        self.screen.resize(HEIGHT, width)

    def look(self) -> list[str] | None:
        """What stands there once something new has come; None at the end."""
        assert select.select([self._ours], [], [], 30)[0], "nothing new in 30 s"
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # the other side is closed
            return None
        self._stream.feed(data)
        return [line.rstrip() for line in self.screen.display]

    def close(self) -> int:
        os.close(self._ours)
        return self._process.wait(30)


def test_three_sources_in_a_terminal_that_changes_its_size(tmp_path: Path) -> None:
    """Edge 13: names whole at 60 columns, no stray lines, sentences with dates as ISO writes them."""
    sources = [make_frames(tmp_path / name, 60) for name in CAMERAS]
    config = make_config(tmp_path, sources, detect={"options": {"nap_ms": 40}})
    widths, tables = iter([60, 110, 60]), 0
    seen, last = Seen(100, "up", config), [""]
    while (lines := seen.look()) is not None:
        last = lines
        headers = [number for number, line in enumerate(lines) if line.startswith("stage ")]
        assert len(headers) <= 1, "a table stands there twice"
        if not headers:
            continue
        rows = [line.split()[0] for line in lines[headers[0] + 1 :] if line]
        if rows[-1:] != ["sink"]:  # only half of it has come
            continue
        assert rows == ["ingest", "detect", "classify", "sink"]
        tables += 1
        if tables % 3 == 0 and (width := next(widths, None)) is not None:
            seen.resize(width)
    assert tables > 6
    assert not [line for line in last if line.startswith(("stage ", "ingest", "detect", "sink"))], "the table is left"
    assert "ledger balanced" in " ".join(last)
    assert seen.close() == 0


def test_draining_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Edge 13: it said `pipeline.draining`, with a date like 11/24/26."""
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 400), detect={"options": {"nap_ms": 20}})
    seen, text, asked = Seen(100, "up", config), "", False
    while (lines := seen.look()) is not None:
        text = "\n".join(lines)
        if not asked and "running" in text:
            asked = True
            seen._process.send_signal(2)
    assert seen.close() == 0
    assert "nothing more is read; what is in flight is finished" in text
    assert "pipeline.draining" not in text
    assert any(line.startswith("zpipe: 20") and line[11:12] == "-" for line in text.splitlines())


def test_a_table_whose_lines_a_narrower_terminal_has_broken_is_taken_away_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Edge 13."""
    ours, theirs = os.pipe()
    shown = terminal.Terminal(Outlet(theirs))
    os.close(theirs)
    shown._table = ["x" * 90, "", "x" * 60, "x" * 10]
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((60, 24)))
    shown.close()
    with open(ours, "rb") as said:
        assert said.read() == b"\x1b[5A\r\x1b[J"
