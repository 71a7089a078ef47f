"""Every error that zpipe raises on purpose, and where in the flow of data it arises.

    ZpipeError
    ├── ConfigError          the YAML file, before anything starts           exit code 3
    ├── KeysError            a key, or a folder of keys, that is no good     exit code 3
    ├── ModelError           a model file, labels or device                  exit code 4
    ├── FrameError           one image: unreadable, undecodable, too large   a `failed` result
    ├── WireError            bytes that are no valid message                 counted and dropped
    ├── AlreadyRunning       a living pipeline has this name                 exit code 1
    ├── NotRunning           no pipeline of this name answers                exit code 1
    ├── ResultsError         a results file that cannot be continued         exit code 1
    ├── SenderError          frames that cannot be sent, or not any more     exit code 1
    ├── Fenced               … since a newer sender has their sender's name  exit code 1
    ├── NoCredit             … now, since as many are under way as may be    exit code 1
    └── RunFailed            the pipeline stopped before its end             exit code 1

Lower errors (zmq.ZMQError, cv2.error, OSError of a frame) are translated once, where they arise.
"""

import msgspec

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""All that msgspec raises for bytes that are not what they should be: text that is no UTF-8 and nesting without end
have errors of their own."""


class ZpipeError(Exception):
    """The base of all of them; `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(ZpipeError):
    """The config cannot be used; the message holds one line per problem: file, line, key path, what and why."""

    exit_code = 3


class KeysError(ZpipeError):
    """A key file or a folder of keys that cannot be used, or a key that the other side does not accept."""

    exit_code = 3


class ModelError(ZpipeError):
    """A model cannot be loaded or does not fit its stage; names the file, the input or output, what was expected."""

    exit_code = 4


class FrameError(ZpipeError):
    """One frame cannot be read or decoded; its message becomes the `reason` of a `failed` result."""


class WireError(ZpipeError):
    """Bytes from a socket that are not a valid message of this version."""


class AlreadyRunning(ZpipeError):
    """A pipeline of the same name is alive on this machine."""


class NotRunning(ZpipeError):
    """No pipeline of that name (or none at all) answers on this machine."""


class ResultsError(ZpipeError):
    """The results file is of an unfinished run, of other sources or settings, damaged, or not ours any more."""


class SenderError(ZpipeError):
    """The pipeline takes no frames from this sender, or none any more; says why."""


class Fenced(SenderError):
    """A newer sender of the same name has taken this one's place."""


class NoCredit(SenderError):
    """As many frames have no result yet as may be, and `put` was asked not to wait."""


class RunFailed(ZpipeError):
    """The pipeline stopped before its end; carries the exit code of the run."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
