"""What can go wrong, as one tree; the command line turns each into its exit code.

BenchError
├── UsageError   2  a flag, a file or a name that the user can mend
├── RunError     3  the run could not be made: a server, a target, a disk
└── Interrupted  130  stopped by the user; what was measured is kept
"""


class BenchError(Exception):
    """An error the user can act on: the message names the thing, what was expected and what exists."""

    exit_code = 3


class UsageError(BenchError):
    """A flag, a file or a name that has to be mended before anything can run."""

    exit_code = 2


class RunError(BenchError):
    """The run could not be made."""

    exit_code = 3


OK, FAILED, NOT_MADE, UNDECIDED, INTERRUPTED = 0, 1, 3, 4, 130
