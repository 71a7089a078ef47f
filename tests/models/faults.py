"""Faults at exact places inside zpipe's own processes, as the `sitecustomize` of a worker.

zpipe has no hooks for faults, and needs none: Python imports a module of this name as each process starts, so this one
can wrap the function in whose middle a test wants the process to die. `faults.json` beside it lists them:

    {"role": "sink", "at": "log", "seq": 40, "how": "exit", "times": 1}

`at` is one of `PLACES`, `how` one of `HOWS`, `seq` the frame (0: each); each fault strikes `times` times in all (1), in
whichever process of the role comes there. `where`: `before` the function (the default), `half` through it (log only),
or `after` it.
"""

import json
import os
import signal
import sys
import threading
import time
from functools import wraps
from pathlib import Path

HERE = Path(__file__).parent

HOWS = {
    "exit": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "close_files": lambda: os.closerange(3, 1 << 10),
    "abort_sending": lambda: abort_sending(),
    "segfault_soon": lambda: threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGSEGV)).start(),
    "hang": lambda: time.sleep(3600),
    "nap": lambda: time.sleep(1),
}


def abort_sending():
    """What is sent next kills the process: as when the model has overwritten memory that is used for it."""
    from zpipe.transport.link import WorkerLink

    WorkerLink.flush = lambda link: os.abort()


def strike(number, fault, first=lambda: None):
    """Do it, unless it was done as often as it should be: a file that is created exclusively counts."""
    for count in range(fault.get("times", 1)):
        try:
            os.close(os.open(HERE / f"fault-{number}-{count}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        first()
        print(f"fault: {fault['at']} {fault['seq']} {fault['how']}", flush=True)
        HOWS[fault["how"]]()
        return


def around(owner, name, seq_of, number, fault):
    """Wrap the method so that the fault strikes at its frame."""
    method = getattr(owner, name)

    @wraps(method)
    def wrapped(*args):
        hit = fault["seq"] in (0, seq_of(*args))
        if hit and fault.get("where", "before") == "before":
            strike(number, fault)
        if hit and fault.get("where") == "half":
            strike(number, fault, lambda: log_half(*args))
        result = method(*args)
        if hit and fault.get("where") == "after":
            strike(number, fault)
        return result

    setattr(owner, name, wrapped)


def log_half(file, stream, seq, line, status):
    os.pwrite(file._file, line[: len(line) // 2], file._size)


def load(number, fault):
    """ingest reads a file; `seq` is taken from its name, img17.png."""
    from zpipe.sources.files import FileFrame

    around(FileFrame, "load", lambda frame, slot: int(frame.name.strip("img.pn")), number, fault)


def open_listed(number, fault):
    """ingest opens a folder; `seq` is how many pictures are in it."""
    from zpipe.sources import listing

    around(listing, "open_listed", lambda config, *rest: len(os.listdir(config.path)), number, fault)


def vanish(number, fault):
    """Before ingest looks at a folder of `seq` pictures it is renamed."""
    from zpipe.sources import listing

    check = listing.check_listed

    def check_vanished(config, kept):
        if os.path.exists(config.path) and len(os.listdir(config.path)) == fault["seq"]:
            os.rename(config.path, config.path + ".gone")
        check(config, kept)

    listing.check_listed = check_vanished


def log(number, fault):
    """The sink writes a result to its file."""
    from zpipe.results.file import ResultsFile

    around(ResultsFile, "append", lambda file, stream, seq, *rest: seq, number, fault)


def publish(number, fault):
    """The sink hands a result to its subscribers."""
    from zpipe.results.publisher import Publisher

    around(Publisher, "publish", lambda out, topic, line: json.loads(line)["seq"], number, fault)


def detect(number, fault):
    """A detect worker works on a frame."""
    from zpipe.stages.detect import Detect

    around(Detect, "work", lambda stage, result, picture: result.seq, number, fault)


def classify(number, fault):
    """A classify worker works on a frame."""
    from zpipe.stages.classify import Classify

    around(Classify, "work", lambda stage, result, picture: result.seq, number, fault)


def start(number, fault):
    """A worker starts; `seq` does not matter."""
    strike(number, fault)


def high_water(number, fault):
    """No fault: the sink's high-water mark is `seq`."""
    from zpipe.results import publisher

    publisher.MOST_WAITING = fault["seq"]


PLACES = {place.__name__: place for place in (load, vanish, log, publish, detect, classify, start, high_water)}
PLACES["open"] = open_listed

ORDER = sys.orig_argv[sys.orig_argv.index("worker") + 1] if "worker" in sys.orig_argv else ""
ROLE = json.loads(ORDER)["role"] if ORDER else ""

if ROLE:
    for number, fault in enumerate(json.loads((HERE / "faults.json").read_text())):
        if fault["role"] == ROLE:
            PLACES[fault["at"]](number, fault)
