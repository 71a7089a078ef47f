"""`python -m zpipe` is the `zpipe` command; `python .../zpipe worker ...` is how zpipe starts its own processes.

By path rather than `-m`: `-m` looks in the current folder first, and a `zpipe` folder there (a clone, say, without the
built core) must not become what the workers run. By path, this folder is first instead, and its modules would shadow
others of the same name, so it goes. Where the package lies is first only until the package is imported, which so is
this very one even where another is installed; then it is last.
"""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    import zpipe  # noqa: F401

    sys.path.append(sys.path.pop(0))

if sys.argv[1:2] == ["worker"]:
    from zpipe.worker import main as work

    sys.exit(work(sys.argv[2:]))

from zpipe.cli import main

main(prog_name="zpipe")
