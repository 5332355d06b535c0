"""Errors that are told in one line."""


class InputError(ValueError):
    """What somebody gave cannot be used: an argument, an option, a file, a folder.

    The message is one line that names what was given, its value, and what is accepted.
    `aajax` prints that line and exits with 2; every other exception is a fault of the
    program, and is shown as one.
    """


class DivergenceError(Exception):
    """Numbers of a training run are NaN or infinite.

    The message is one line that names the seed, the update and the quantity. `aajax`
    prints that line and exits with 3.
    """
