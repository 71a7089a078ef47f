"""Which display fits where the output goes; sets up logging with it."""

import logging
import sys

from zpipe.show.display import Display, JsonLines, Lines


def choose(quiet: bool, json: bool) -> Display:
    """The display that fits where the output goes; sets up logging with it."""
    if quiet or json or not sys.stderr.isatty():
        level = logging.WARNING if quiet or json else logging.INFO
        logging.basicConfig(format="zpipe: %(message)s", level=level, stream=sys.stderr)
        return Display() if quiet else JsonLines() if json else Lines()
    from zpipe.show.terminal import Terminal  # a tenth of the time that a start takes, and only people need it

    return Terminal()
