"""Exceptions that the command line reports as one line."""


class InputError(ValueError):
    """Unusable input: an argument, an option, a file or a folder.

    The message is one line that names the input, its value and what is accepted. The
    command line prints it and exits with status 2; any other exception is a bug and
    ends in a traceback.
    """


class DivergenceError(Exception):
    """A training run has diverged: a quantity is NaN or infinite.

    The message is one line that names the seed, the update and the quantity. The
    command line prints it and exits with status 3.
    """
