"""`zpipe send`: parses, calls, exits. What it does is in sender/command.py."""

import sys
from pathlib import Path

import click

from zpipe.show.outlet import say


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--to", "endpoint", required=True, metavar="ENDPOINT", help="Where the pipeline listens.")
@click.option("--as", "name", metavar="NAME", help="Who we are; its results are the stream gate.NAME.")
@click.option("--key", type=click.Path(exists=True), help="Our key file, where the pipeline has keys.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the results into this file.")
@click.option("--draw", type=click.Path(file_okay=False, path_type=Path), help="Draw the results into this folder.")
@click.option("--every", type=click.IntRange(1), default=1, help="Of videos, only every so many frames.")
@click.option("--jpeg", type=click.IntRange(1, 100), help="Frames of videos travel as JPEG of this quality.")
@click.option("--timeout", "timeout_s", type=float, help="Give up when nobody answers for so many seconds.")
@click.option("--strict", is_flag=True, help="Exit code 1 if any frame failed.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def send(
    paths: tuple[str, ...], endpoint: str, name: str | None, key: str | None, out: Path | None, draw: Path | None,
    every: int, jpeg: int | None, timeout_s: float | None, strict: bool, quiet: bool,
) -> None:  # fmt: skip
    """Send pictures to a pipeline that listens, wait for their results, write and draw them.

    PATH is an image, a folder, a list file or a video. Whatever dies meanwhile, the same command goes on where it
    stopped. Exit codes: 0 every frame has its result; 1 not so (or, with --strict, any frame failed).

    \b
    Examples:
      zpipe send photos/ --to tcp://127.0.0.1:5570 --as alice --out results.jsonl
      zpipe send film.mp4 --every 5 --jpeg 90 --to tcp://head:5570 --key alice.key --draw pictures
    """
    from zpipe.sender.command import Wishes, own_name, send_pictures

    wishes = Wishes(out, draw, jpeg, timeout_s, quiet)
    try:
        failed = send_pictures(list(paths), endpoint, name or own_name(), key, every, wishes)
    except KeyboardInterrupt:
        say("the same command goes on from here")
        sys.exit(130)
    if strict and failed:
        sys.exit(1)
