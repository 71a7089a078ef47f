"""`zpipe keys`: parses, calls, prints. What a folder of keys is, transport/keys.py knows."""

from pathlib import Path

import click

ROLES = ("send", "subscribe", "node")
"""Those of `transport/key_files.py`, which is read only when a key is: the command line opens without it."""

folder_option = click.option(
    "--keys", "folder", default="keys", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="The folder of keys.",
)  # fmt: skip


@click.group()
def keys() -> None:
    """Who may connect to a pipeline from elsewhere: a folder of keys, made and changed here.

    A config with `keys: FOLDER` lets in those who have a key of that folder, and encrypts all that passes. A pipeline
    that runs sees a change within a second.

    \b
    Example:
      zpipe keys init keys/
      zpipe keys add alice
      zpipe keys remove alice
    """


@keys.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Make FOLDER, with a key pair for the pipeline. Only you can read it.

    \b
    Example:
      zpipe keys init keys/
    """
    from zpipe.transport import keys as store

    store.init(folder)
    click.echo(f"{folder}: write `keys: {folder}` into the config; `zpipe keys add NAME` lets somebody in")


@keys.command()
@click.argument("name")
@folder_option
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="What it is for (send and subscribe).")
@click.option(
    "--stream", "streams", multiple=True, metavar="NAME", help="It may send as NAME, or NAME* (its own name)."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The client's file (NAME.key).")
def add(name: str, folder: Path, roles: tuple[str, ...], streams: tuple[str, ...], out: Path | None) -> None:
    """Make a key for a client and let it in. The client gets one file and keeps it secret.

    Roles: send frames, subscribe to results, or work as a node.

    \b
    Examples:
      zpipe keys add alice
      zpipe keys add gateway --role send --stream "yard-*" --out /media/stick/gateway.key
    """
    from zpipe.transport import keys as store

    out = out if out is not None else Path(f"{name}.key")
    client = store.add(folder, name, list(roles or ("send", "subscribe")), list(streams), out)
    click.echo(f"{out}: for {client.name} alone, by a way that nobody else reads; then `--key {out}`")


@keys.command("list")
@folder_option
def list_keys(folder: Path) -> None:
    """Say who is let in, in which roles, and under which names each may send.

    \b
    Example:
      zpipe keys list
    """
    from zpipe.transport.keys import Keys

    found = Keys(folder)
    click.echo(f"server: {'   and, until `zpipe keys retire`, '.join(pair.public for pair in found.pairs)}")
    for client in found.clients:
        roles = ", ".join(role for role in ROLES if role in client.roles)
        names = f" as {' '.join(client.streams)}" if "send" in client.roles else ""
        click.echo(f"{client.name}: {client.public}   {roles or 'nothing'}{names}")


@keys.command()
@click.argument("name")
@folder_option
def remove(name: str, folder: Path) -> None:
    """Let NAME in no more, and end its connections, within a second.

    \b
    Example:
      zpipe keys remove alice
    """
    from zpipe.transport import keys as store

    store.remove(folder, name)
    click.echo(f"{name} is not let in any more")


@keys.command()
@folder_option
def renew(folder: Path) -> None:
    """Make a new pair for the pipeline, beside the old one. Both serve until `retire`.

    New clients' files have the new public key. It is no secret: old clients put it into theirs, behind `server:`.

    \b
    Example:
      zpipe keys renew
    """
    from zpipe.transport import keys as store

    click.echo(f"server: {store.renew(folder)}")


@keys.command()
@folder_option
def retire(folder: Path) -> None:
    """End the pair that `renew` has replaced, and the connections of those who know only that.

    \b
    Example:
      zpipe keys retire
    """
    from zpipe.transport import keys as store

    store.retire(folder)
    click.echo("the old pair is gone")
