"""Games on a terminal, in colours."""

import numpy as np
from rich.text import Text

from aajax.envs.view import View
from aajax.types import PyTree


def shown(view: View, state: PyTree) -> Text:
    """What onlookers see."""
    text = Text(view.show(state))
    for pattern, style in view.styles:
        text.highlight_regex(pattern, style)
    return text


def shown_to(view: View, seat: int, state: PyTree, observation: np.ndarray) -> Text:
    """What one seat sees; in colours where it begins with what onlookers see."""
    text, board = view.show_to(seat, state, observation), shown(view, state)
    if not text.startswith(board.plain):
        return Text(text)
    return board.append(text[len(board.plain) :])
