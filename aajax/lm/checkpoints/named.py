"""A model, its chat template and an adapter on it, in one text.

model:smollm2
model:google/gemma-3-270m,chat_template=gemma
model:smollm2,adapter=runs/other/adapter
"""

from pathlib import Path
from typing import Any, NamedTuple

from aajax.errors import InputError
from aajax.lm.text.chat_templates import TEMPLATES

MODEL = "model:"
FORM = f"{MODEL}MODEL[,chat_template=NAME][,adapter=FOLDER]"


class NamedModel(NamedTuple):
    """What such a text names.

    Attributes:
      model: a name of `find.model_folder`.
      chat_template: a name of `chat_templates.read_chat_template`; None for the
        model's own.
      adapter: a PEFT folder, or that of a run; None for the model alone.
    """

    model: str
    chat_template: str | None = None
    adapter: str | None = None

    def __str__(self) -> str:
        given = zip(self._fields[1:], self[1:], strict=True)
        more = [f",{name}={value}" for name, value in given if value is not None]
        return MODEL + self.model + "".join(more)


def is_named(text: str) -> bool:
    """Whether a text is to be read by `read_named`."""
    return text.startswith(MODEL)


def read_named(text: str, argument: str) -> NamedModel:
    """The model that a text of FORM names; it may not be there.

    Args:
      text: of FORM.
      argument: what gave it, for errors.

    Raises:
      InputError: for a text of another form.
    """
    model, *settings = text.removeprefix(MODEL).split(",")
    found = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in NamedModel._fields[1:] or name in found or not value:
            raise InputError(f"{argument} is {text!r}: {FORM} is needed")
        found[name] = value
    if not model:
        raise InputError(f"{argument} is {text!r}: {FORM} is needed")
    return NamedModel(model, **found)


def absolute(text: Any, argument: str) -> Any:
    """A named model by absolute paths where they are there; anything else as it is.

    So it is found from other working directories.
    """
    if not isinstance(text, str) or not is_named(text):
        return text
    named = read_named(text, argument)
    return str(NamedModel._make(map(_resolved, named)))


def _resolved(part: str | None) -> str | None:
    if part is None or part in TEMPLATES or not Path(part).exists():
        return part
    return str(Path(part).resolve())
