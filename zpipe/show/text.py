"""Text from files, models and workers of anybody, made harmless for terminals and logs. Pure."""

import re

STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, ends of lines, changes of the writing direction, and halves of characters."""


def plain(text: str) -> str:
    """Text without what steers a terminal: it is written as `\\xNN` or `\\uNNNN`."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def plain_lines(text: str) -> str:
    """The same for what may have several lines."""
    return "\n".join(map(plain, text.split("\n")))
