"""The `zpipe` command: parses, calls, prints, exits. Nothing is done here that a program could not do too."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from zpipe import __version__
from zpipe.completion import complete_names
from zpipe.errors import ModelError, ZpipeError
from zpipe.key_commands import keys
from zpipe.send_command import send
from zpipe.show.outlet import fill_standard_files, say, turn_off
from zpipe.source_command import source


class Group(click.Group):
    """Turns every zpipe error into one clear message and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        fill_standard_files()
        try:
            return super().invoke(ctx)
        except ZpipeError as error:
            say(str(error))
            ctx.exit(error.exit_code)


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """`zpipe subscribe | head`: who closes the pipe has seen enough; a full disk is an error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        turn_off(1)
    except OSError as error:
        turn_off(1)
        raise ZpipeError(f"cannot print: {error.strerror}") from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zpipe")
def main() -> None:
    """Images through a detector and a classifier, in a ZeroMQ pipeline of worker processes.

    \b
    Example:
      zpipe up configs/demo.yaml
    """


for command in (keys, send, source):
    main.add_command(command)


def settings(
    pairs: tuple[str, ...], detect: str | None, classify: str | None, wait_subscribers: int | None
) -> list[str]:
    """The overrides of the config that the options stand for."""
    overrides = list(pairs)
    if detect is not None:
        overrides.append(f"detect.count={detect}")
    if classify is not None:
        overrides.append(f"classify.count={classify}")
    if wait_subscribers is not None:
        overrides.append(f"sink.wait_subscribers={wait_subscribers}")
    return overrides


set_option = click.option(
    "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Change a key of the config: detect.confidence=0.5"
)


key_option = click.option(
    "--key", metavar="FILE", help="Our key, where the pipeline has keys (`zpipe keys add` made it)."
)


class Up(click.Command):
    """`--resume` has a value only behind `=`, so that the word that follows it is never taken for one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        return super().parse_args(ctx, ["--resume=same" if arg == "--resume" else arg for arg in args])


@main.command(cls=Up)
@click.argument("config", type=click.Path(dir_okay=False))
@click.option("--detect", metavar="N", help="Detect workers (or auto).")
@click.option("--classify", metavar="N", help="Classify workers (or auto).")
@set_option
@click.option("--wait-subscribers", type=click.IntRange(0), help="Read nothing before so many subscribers are there.")
@click.option(
    "--resume", type=click.Choice(["same", "anyway"]), metavar="[=anyway]",
    help="Continue the run that the results file is of; `anyway`: with other models or settings.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Start anew, and keep nothing of the run that the results file is of.")
@click.option("--strict", is_flag=True, help="Exit code 1 if any frame failed.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def up(
    config: str, detect: str | None, classify: str | None, pairs: tuple[str, ...], wait_subscribers: int | None,
    resume: str | None, overwrite: bool, strict: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run a pipeline until its sources end. Ctrl-C drains, a second one stops at once.

    Exit codes: 0 done and balanced; 1 run failed or ledger open; 2 usage; 3 bad config; 4 a worker cannot start.

    \b
    Examples:
      zpipe up configs/demo.yaml
      zpipe up yard.yaml --detect 4 --classify 2 --set detect.confidence=0.5
      zpipe up yard.yaml --resume
    """
    from zpipe.config.loading import load
    from zpipe.launch import launch
    from zpipe.show.choosing import choose
    from zpipe.show.display import failures_text

    going_on: bool | Literal["anyway"] = "anyway" if resume == "anyway" else resume is not None
    if going_on and overwrite:
        raise click.UsageError("--resume continues the results file, --overwrite replaces it: give one of them")
    loaded = load(config, settings(pairs, detect, classify, wait_subscribers))
    account = None
    with closing(choose(quiet, as_json)) as shown:
        try:
            with launch(loaded, Path(config).resolve().parent, shown, resume=going_on, overwrite=overwrite) as broker:
                try:
                    broker.run()
                finally:
                    account = broker.status.account()
        finally:  # once nothing of it is left on the machine
            if account is not None and account.is_of_a_run:
                shown.ended(account)
    if strict and account.failed and quiet:
        say(failures_text(account))
    if not account.balanced or (strict and account.failed):
        sys.exit(1)


@main.command()
@click.argument("config", type=click.Path(dir_okay=False))
@set_option
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="Run the models on this image.")
@click.option("--out", type=click.Path(dir_okay=False), help="Where to draw what was found in it (PNG or JPEG).")
@click.option("--here", is_flag=True, hidden=True)
def check(config: str, pairs: tuple[str, ...], image: str | None, out: str | None, here: bool) -> None:
    """Validate a config, load its models and say what they are.

    \b
    Examples:
      zpipe check yard.yaml
      zpipe check yard.yaml --image photo.jpg --out found.png
    """
    from zpipe.check import models_of, report
    from zpipe.engines.local import run_apart

    if not here:  # a damaged library can take its process with it, which must not be ours
        try:
            run_apart(["check", "--here", *sys.argv[2:]])
        except ModelError as error:
            raise ModelError(f"{' or '.join(models_of(config, list(pairs)))}: {error}") from None
        return
    for line in report(config, list(pairs), image, out):
        with until_nobody_reads():
            click.echo(line)


@main.command()
@click.argument("config", type=click.Path(dir_okay=False))
@set_option
@click.option("--seconds", type=click.FloatRange(0.5), default=10, show_default=True, help="How long each run takes.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the report into this file (.png, .svg or .html).")
@click.option("--bare", "bare_to", type=click.Path(dir_okay=False), hidden=True)
def bench(
    config: str, pairs: tuple[str, ...], seconds: float, as_json: bool, plot: str | None, bare_to: str | None
) -> None:
    """Measure a config on this machine: what a frame costs bare, what the pipeline reaches, which counts to take.

    \b
    Examples:
      zpipe bench yard.yaml
      zpipe bench yard.yaml --seconds 30 --plot yard.png
      zpipe bench yard.yaml --json > yard.json
    """
    from zpipe.bench import command

    if bare_to is not None:
        command.bare(config, list(pairs), seconds, Path(bare_to))
    elif plot is not None and Path(plot).suffix not in command.PLOTS:
        raise click.UsageError(f"--plot {plot}: its name must end in one of {', '.join(command.PLOTS)}")
    else:
        command.run(config, list(pairs), seconds, as_json, None if plot is None else Path(plot))


@main.command()
@click.argument("source", required=False)
@click.option("--topic", "--stream", "stream", help="Only this stream (results/NAME or NAME).")
@click.option("--from-start", is_flag=True, help="Begin with frame 1 of each stream, however late we come.")
@click.option("--from", "first", type=click.IntRange(1), help="Begin with this number of each stream.")
@click.option("--format", "form", type=click.Choice(["json", "table", "csv"]), default="json", show_default=True)
@click.option("--timeout", "timeout_s", type=float, help="Give up after so many seconds without a message.")
@key_option
def subscribe(
    source: str | None, stream: str | None, from_start: bool, first: int | None, form: str, timeout_s: float | None,
    key: str | None,
) -> None:  # fmt: skip
    """Print results as they are published, each once and in order. SOURCE is an endpoint, or a results file; without
    it: the pipeline that runs here.

    \b
    Examples:
      zpipe subscribe tcp://127.0.0.1:5560
      zpipe subscribe --from-start --format csv > objects.csv
      zpipe subscribe results.jsonl --format table
      zpipe subscribe tcp://yard.example:5560 --key alice.key
    """
    from zpipe.show.results import print_results

    if stream is not None:
        stream = stream.removeprefix("results/")
    try:
        with until_nobody_reads():
            source, key = (source, key) if source is not None else running_endpoint(key)
            print_results(source, stream, 1 if from_start else first, form, timeout_s, key)
    except KeyboardInterrupt:
        sys.exit(130)


@main.command()
@click.argument("results")
@click.option("--out", required=True, type=click.Path(), help="Folder for the pictures, or a video file (.mp4).")
@click.option(
    "--images", "folders", multiple=True, metavar="[STREAM=]PATH", help="Where the frames are, if not where they were."
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False), help="The config of the run: names its sources."
)
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Only this stream.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), default=0.0, help="Only objects as sure as that.")
@click.option("--stage", "stages", multiple=True, metavar="NAME", help="Only classes of this stage (detect: none).")
@click.option("--no-labels", is_flag=True, help="Boxes only.")
@key_option
def draw(
    results: str, out: str, folders: tuple[str, ...], config: str | None, streams: tuple[str, ...],
    min_confidence: float, stages: tuple[str, ...], no_labels: bool, key: str | None,
) -> None:  # fmt: skip
    """Draw boxes, labels and confidences of RESULTS (a results file, or an endpoint for live ones).

    Several streams get a folder each, or a video each (film-NAME.mp4) at the rate of its source.

    \b
    Examples:
      zpipe draw results.jsonl --config yard.yaml --out pictures
      zpipe draw results.jsonl --images images/ --out film.mp4 --min-confidence 0.5
      zpipe draw tcp://127.0.0.1:5560 --config yard.yaml --out pictures --stream yard
    """
    from zpipe.draw.look import Look
    from zpipe.draw.results import draw_results

    look = Look(frozenset(streams), min_confidence, frozenset(stages), not no_labels)
    count = draw_results(results, Path(out), list(folders), config, look, key=key)
    with until_nobody_reads():
        click.echo(f"{count} picture(s) in {out}")


@main.command()
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("--all", "of_all", is_flag=True, help="Of all pipelines that run here; with --json a list.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(name: str | None, of_all: bool, as_json: bool) -> None:
    """Say how a running pipeline is doing; without NAME all that run here.

    \b
    Examples:
      zpipe status
      zpipe status yard --json
      zpipe status --all --json
    """
    import msgspec

    from zpipe.client.pipelines import status_of_all
    from zpipe.show.terminal import print_status
    from zpipe.transport.control import ask_status

    if of_all and name is not None:
        raise click.UsageError("--all is for all pipelines, NAME for one: give one of them")
    complain = partial(click.echo, err=True)
    if as_json:
        found = status_of_all(complain) if of_all else ask_status(name)
        with until_nobody_reads():
            click.echo(msgspec.json.encode(found).decode())
        return
    pipelines = status_of_all(complain) if name is None else []
    for each in pipelines or [ask_status(name)]:
        with until_nobody_reads():
            print_status(each)


@main.command()
@click.argument("counts", nargs=-1, required=True, metavar="STAGE=N|auto...")
@click.option("--name", help="Name of the pipeline, where several run.", shell_complete=complete_names)
def scale(counts: tuple[str, ...], name: str | None) -> None:
    """Change how many workers the stages of a running pipeline have. Nothing is lost by it.

    \b
    Example:
      zpipe scale detect=4 classify=1
      zpipe scale detect=auto
    """
    from zpipe.client import pipelines

    wanted: dict[str, int | Literal["auto"]] = {}
    for pair in counts:
        stage, separator, count = pair.partition("=")
        if not separator or not (count == "auto" or (count.isascii() and count.isdecimal())):
            raise click.UsageError(f"{pair!r} is neither STAGE=N nor STAGE=auto")
        wanted[stage] = "auto" if count == "auto" else int(count)
    now = pipelines.scale(name, wanted)
    click.echo(" ".join(f"{stage}={count}" for stage, count in now.items()))


@main.command()
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("--wait", is_flag=True, help="Come back when it has ended.")
def stop(name: str | None, wait: bool) -> None:
    """Drain a running pipeline: it reads nothing more, finishes what is in flight, and ends.

    \b
    Example:
      zpipe stop yard --wait
    """
    from zpipe.client import pipelines

    click.echo(pipelines.stop(name, wait))


@main.command("plugin-path")
def plugin_path() -> None:
    """Print the folder of zpipe_plugin.h and zpipe_plugin.hpp, for the compiler.

    \b
    Example:
      cmake -S . -B build -D ZPIPE_INCLUDE=$(zpipe plugin-path)
    """
    from zpipe.models.plugin import include_folder

    click.echo(include_folder())


def running_endpoint(key: str | None) -> tuple[str, str | None]:
    """The endpoint of the one pipeline that runs here; the key for it, if none is given: its own."""
    from zpipe.transport.control import ask_status

    running = ask_status(None)
    return running.publish, key or running.keys
