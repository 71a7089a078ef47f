"""Loaded by every Python process that has this folder on PYTHONPATH: lets image files come one every ZPIPE_PACE_S, as a
camera's pictures would, where zpipe would read them as fast as it may."""

import os
import sys

PACE_S = os.environ.get("ZPIPE_PACE_S")

if PACE_S and any('"role":"ingest"' in argument for argument in sys.orig_argv):
    import time

    import zpipe.sources.files as files

    read_all = files.FileSource.frames

    def paced(self, *arguments, **more):
        due = time.monotonic()
        for frame in read_all(self, *arguments, **more):
            time.sleep(max(0.0, due - time.monotonic()))
            due += float(PACE_S)
            yield frame

    files.FileSource.frames = paced
