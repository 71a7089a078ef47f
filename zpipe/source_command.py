"""`zpipe source`: parses, calls, prints. The sources of a running pipeline are its broker's (run/intake.py)."""

import click

from zpipe.completion import complete_names


@click.group()
def source() -> None:
    """The sources of a running pipeline: list them, add one, remove one."""


of_pipeline = click.option("--name", help="Name of the pipeline, where several run.", shell_complete=complete_names)


@source.command("list")
@of_pipeline
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_sources(name: str | None, as_json: bool) -> None:
    """Say where the frames of a running pipeline come from."""
    import msgspec

    from zpipe.client import pipelines
    from zpipe.show.sources import source_lines

    found = pipelines.list_sources(name)
    click.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(source_lines(found)))


@source.command("add")
@click.argument("path")
@click.option("--stream", metavar="NAME", help="Name of its stream, if not that of the file or directory.")
@click.option("--recursive", is_flag=True, help="Read the directories in it too.")
@click.option("--glob", metavar="PATTERN", help="Of a directory only the files that fit.")
@click.option("--every", type=click.IntRange(1), default=1, help="Of a video every Nth frame.")
@click.option("--timeout", "timeout_s", type=float, default=60.0, help="Seconds until it hangs.")
@of_pipeline
def add_source(
    path: str, stream: str | None, recursive: bool, glob: str | None, every: int, timeout_s: float, name: str | None
) -> None:
    """Have a running pipeline read PATH too, as a stream of its own.

    \b
    Example:
      zpipe source add more/ --stream more
    """
    from zpipe.client import pipelines

    keys = {"recursive": recursive, "glob": glob, "every": every, "timeout_s": timeout_s}
    click.echo(pipelines.add_source(name, path, stream, **keys))


@source.command("remove")
@click.argument("stream")
@of_pipeline
def remove_source(stream: str, name: str | None) -> None:
    """Have a running pipeline read no more of STREAM. What is read of it already is finished."""
    from zpipe.client import pipelines

    pipelines.remove_source(name, stream)
