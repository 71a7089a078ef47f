"""What the shell completes behind a `zpipe` command."""

import click


def complete_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The pipelines that run here, for the shell's completion."""
    from zpipe.transport.run_folder import all_living

    return [name for name in all_living() if name.startswith(incomplete)]
