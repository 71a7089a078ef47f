"""The sources of a running pipeline as lines for people. Pure."""

from zpipe.show.text import plain
from zpipe.snapshot import SourceState


def source_lines(sources: list[SourceState]) -> list[str]:
    """A line each, its columns below each other."""
    rows = [("stream", "state", "read", "source")]
    rows += [(plain(each.stream), each.state, str(each.read), plain(each.source)) for each in sources]
    stream, state, read = (max(len(row[column]) for row in rows) for column in range(3))
    return [f"{row[0]:{stream}}  {row[1]:{state}}  {row[2]:>{read}}  {row[3]}" for row in rows]
