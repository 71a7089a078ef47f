"""`python -m zpipe` is the `zpipe` command."""

from zpipe.cli import main

main(prog_name="zpipe")
