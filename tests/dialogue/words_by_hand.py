"""A table at which the test says every word."""

import jax
import numpy as np

from aajax.envs.text import Table


@jax.jit
def _reset(env, key):
    return env.reset(key)[0]


@jax.jit
def _step(env, key, state, action):
    state, time_step = env.step(key, state, action)
    return state, time_step.reward


class ByHand:
    """A game under way, and what the last answers earned."""

    def __init__(self, game, seed=0):
        self.game, self.keys = game, iter(jax.random.split(jax.random.key(seed), 99))
        self.table = Table(self._state(_reset(game.env, next(self.keys))), 0)
        self.seats = range(game.env.num_agents)
        self.rewards = [0.0 for _ in self.seats]

    def deal(self, **parts):
        """Puts other numbers on the table."""
        self.table = self.table._replace(state=self.table.state._replace(**parts))
        return self

    def texts(self):
        return [self.game.ask(self.table, seat).text for seat in self.seats]

    def kinds(self):
        return [self.game.ask(self.table, seat).kind for seat in self.seats]

    def say(self, *words):
        """What each seat answers, None where it only listens; a number is asked for."""
        joint, said = [], []
        for word, kind in zip(words, self.kinds(), strict=True):
            assert (word is None) == (kind is None)
            if word is not None and not isinstance(word, str):
                word = self.game.say(kind, np.asarray(word))
            said.append(word)
            joint.append(
                self.game.silent if kind is None else self.game.parse(kind, word).action
            )
        table, steps = self.table, self.game.steps
        state, self.rewards = table.state, [0.0 for _ in self.seats]
        if steps[table.step % len(steps)]:
            state, reward = _step(
                self.game.env, next(self.keys), state, np.stack(joint)
            )
            state, self.rewards = self._state(state), reward.tolist()
        self.table = Table(state, table.step + 1, (*table.words, tuple(said)))
        return self.rewards

    @staticmethod
    def _state(state):
        return jax.tree.map(np.asarray, state)
