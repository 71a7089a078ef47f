"""Which display fits where the output goes; sets up logging with it."""

import logging
import os
import sys

from zpipe.show.display import Display, JsonLines, Lines
from zpipe.show.logs import OneLine, ToDisplay
from zpipe.show.outlet import Outlet


def choose(quiet: bool, json: bool) -> Display:
    """The display that fits where the output goes; log records go to it too."""
    form = OneLine()
    errors = Outlet(2, getattr(sys.stderr, "encoding", "utf-8"))
    if quiet or json or not os.isatty(2):
        shown = Display(errors) if quiet else JsonLines(errors, Outlet(1)) if json else Lines(errors)
    else:
        from zpipe.show.sentences import Sentences
        from zpipe.show.terminal import Terminal  # a tenth of the time that a start takes, and only people need it

        shown, form = Terminal(errors), Sentences()
    logging.basicConfig(level=logging.WARNING if quiet or json else logging.INFO, handlers=[ToDisplay(shown.say, form)])
    return shown
