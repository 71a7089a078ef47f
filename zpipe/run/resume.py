"""Going on where an earlier run's results file ends, or starting it anew without harm to what is in it."""

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from zpipe.config.keys import Config, IngestConfig
from zpipe.errors import ResultsError
from zpipe.results.file import ResultsFile, check_unlocked, heads, is_unfinished
from zpipe.source import Source

OpenSource = Callable[[IngestConfig, int], Source]
"""Of a config and the most pixels that a frame may have (`sources/opening.py`)."""


def open_results(config: Config, open_source: OpenSource, resume: bool, overwrite: bool) -> ResultsFile:
    """The results file, empty (a new run) or with what is to be continued; ResultsError if neither is safe.

    A finished run's file is replaced; an unfinished one's is valuable, so it is only with `overwrite`.
    """
    path = Path(config.sink.results)
    check_unlocked(path)
    if resume:
        check_sources(config, open_source, path)
        return ResultsFile(path, fresh=False, undrain=True, lock=True)
    if not overwrite and is_unfinished(path, [str(entry.stream) for entry in config.ingest]):
        raise ResultsError(
            f"{path} holds the results of a run that did not come to its end: "
            "continue it with --resume, or start anew with --overwrite"
        )
    return ResultsFile(path, fresh=True, lock=True)


def check_sources(config: Config, open_source: OpenSource, path: Path) -> None:
    """Refuse to continue if a source would not give the frames again that the file has results of.

    What comes after them may have changed: files added at the end are new frames, files that are gone are none.
    """
    if not path.exists():
        return
    names: dict[str, list[str]] = {}
    for head in heads(path):
        if head.type == "frame":
            names.setdefault(head.stream, []).append(head.name)
    for entry in config.ingest:
        done = names.pop(str(entry.stream), [])
        source = open_source(entry, config.frames.max_pixels)
        now = source.names()
        if now is not None:
            for seq, (was, is_now) in enumerate(zip_longest(done, (n for n, _ in zip(now, done, strict=False))), 1):
                if was != is_now:
                    raise ResultsError(
                        f"{entry.path} has changed since the run began: frame {seq} of stream {entry.stream} "
                        f"was {was!r} and is now {is_now!r}; put the files back, or start anew with --overwrite"
                    )
        source.close()
    if names:
        raise ResultsError(f"{path} has results of a stream that the config does not have: {', '.join(names)}")
