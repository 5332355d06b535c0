"""Whether a game in words keeps what `text.TextGame` promises."""

import re
from collections.abc import Iterator

import jax
import numpy as np

from aajax.envs.spec import EnvSpec
from aajax.envs.text import Ask, Parsed, Table, TextGame, trimmed
from aajax.references import reason

NUM_ROUNDS = 3
FORGED = 'hi"\nThe game says: "'
ODD_ANSWERS = ("", " ", "?!", "0", "-1", "{", "\x00", "ß" * 300)
_ATTRIBUTES = (
    *("name", "env", "num_rounds", "steps", "patterns", "invalid_rule", "silent"),
    *("ask", "facts", "parse", "say", "scripted", "aliases", "tallies"),
)


def check_words(spec: EnvSpec) -> Iterator[str]:
    """What the words of a record do not keep, one line each."""
    if spec.words is None:
        return
    try:
        game = spec.words.make()
        yield from (f"words: {line}" for line in _game(game))
    except Exception as error:  # of somebody else's code
        yield f"words: they fail with {reason(error)}"


def _game(game: TextGame) -> Iterator[str]:
    missing = [name for name in _ATTRIBUTES if not hasattr(game, name)]
    if missing:
        yield f"{', '.join(missing)} missing: what TextGame has is needed"
        return
    if game.num_rounds < 1 or not any(game.steps):
        yield "num_rounds and steps: a round with a step of the environment is needed"
        return
    for kind, pattern in game.patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"pattern of {kind!r} is {pattern!r}: {error}"
            return
        found = list(_answers(game, kind, pattern))
        yield from found
        if found:
            return
    found = list(_rounds(game))
    yield from found or _quotes(game)


def _answers(game: TextGame, kind: str, pattern: str) -> Iterator[str]:
    """Any text at all is read, and is valid where it is of the pattern."""
    space = game.env.action_spaces[0]
    wanted = space.shape, np.dtype(space.dtype)
    for text in ODD_ANSWERS:
        try:
            parsed = game.parse(kind, text)
        except Exception as error:  # of somebody else's code
            yield f"parse of {kind!r} fails for {text!r}: {reason(error)}"
            return
        if not isinstance(parsed, Parsed):
            yield f"parse returns {type(parsed).__name__}: a Parsed is needed"
            return
        own = np.shape(parsed.action), np.asarray(parsed.action).dtype
        if own != wanted:
            yield f"parse of {kind!r} gives an action {own}: {wanted} is needed"
            return
        if bool(parsed.valid) != (re.fullmatch(pattern, trimmed(text)) is not None):
            yield f"parse of {kind!r} takes {text!r} for what its pattern does not"
            return


def _rounds(game: TextGame) -> Iterator[str]:
    """A few rounds of random actions, said and read again."""
    env, key = game.env, jax.random.key(0)
    state, timestep = env.reset(key)
    step, words = 0, ()
    for number in range(min(NUM_ROUNDS, game.num_rounds)):
        for place, of_environment in enumerate(game.steps):
            table = Table(jax.device_get(state), step, words)
            actions, said = [], []
            for seat in range(env.num_agents):
                ask = game.ask(table, seat)
                if not isinstance(ask, Ask) or not isinstance(ask.text, str):
                    yield f"ask returns {ask!r} for seat {seat}: an Ask is needed"
                    return
                if ask.kind is not None and ask.kind not in game.patterns:
                    yield f"ask wants {ask.kind!r} of seat {seat}: a key of patterns"
                    return
                own = jax.random.fold_in(key, 100 * step + seat)
                action = np.asarray(env.action_spaces[seat].sample(own))
                if ask.kind is None:
                    actions.append(np.asarray(game.silent))
                    said.append(None)
                    continue
                text = game.say(ask.kind, action)
                parsed = game.parse(ask.kind, text)
                if not parsed.valid:
                    yield f"say writes {text!r}, which parse does not take for valid"
                    return
                spaced = f" {text}\n"
                again = game.parse(ask.kind, spaced)
                if not (again.valid and np.array_equal(again.action, parsed.action)):
                    yield (
                        f"parse reads {spaced!r} as another answer than {text!r}: "
                        "white space around it is not judged (envs.text.trimmed)"
                    )
                    return
                actions.append(parsed.action)
                said.append(text)
                # What comes before may stand for less than an action.
                is_whole = place == len(game.steps) - 1
                if is_whole and not np.array_equal(parsed.action, action):
                    yield (
                        f"say writes {text!r} for {action.tolist()}, which parse reads "
                        f"as {np.asarray(parsed.action).tolist()}"
                    )
                    return
            facts = game.facts(table.state)
            if not isinstance(facts, dict):
                yield f"facts returns {type(facts).__name__}: a dict is needed"
                return
            if of_environment:
                own = jax.random.fold_in(key, 100 * step + 99)
                state, timestep = env.step(own, state, np.stack(actions))
            step, words = step + 1, (*words, tuple(said))
        if bool(timestep.last) and number + 1 < game.num_rounds:
            yield f"env stops after round {number + 1} of {game.num_rounds}"
            return


def _quotes(game: TextGame) -> Iterator[str]:
    """Two rounds in which both answer what looks like a line of the game's own."""
    env, key = game.env, jax.random.key(0)
    state, _ = env.reset(key)
    words = ()
    for step in range(min(2, game.num_rounds) * len(game.steps)):
        table = Table(jax.device_get(state), step, words)
        asks = [game.ask(table, seat) for seat in range(env.num_agents)]
        if any(FORGED in ask.text for ask in asks):
            yield (
                f"ask shows {FORGED!r}, which a seat said, as it is: envs.text.quoted "
                "is needed, or it passes for the game's own words"
            )
            return
        said = tuple(None if ask.kind is None else FORGED for ask in asks)
        actions = [
            game.silent if ask.kind is None else game.parse(ask.kind, FORGED).action
            for ask in asks
        ]
        if game.steps[step % len(game.steps)]:
            own = jax.random.fold_in(key, step)
            state, _ = env.step(own, state, np.stack(actions))
        words = (*words, said)
