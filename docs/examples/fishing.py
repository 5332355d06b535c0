"""Two boats on one lake: what they leave of the fish grows back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aajax.envs import Discrete, EnvSpec, Players, TextSpec
from aajax.envs.base import environment, in_window, static
from aajax.envs.tallies import actions_of, over_rounds
from aajax.envs.text import Ask, Parsed, Table, Tally, TextGame, trimmed
from aajax.envs.wording import Placeholders, Wording, load_wording
from aajax.policies.base import PolicyOutput, player_number, scripted_policy
from aajax.types import Array


# --8<-- [start:rules]
class Lake(NamedTuple):
    fish: Array  # f32[]
    catch: Array  # f32[2], of the last step
    time: Array  # i32[]


@environment
class Fishing:
    """Each boat asks for 0, 1 or 2 fish; the lake holds 10, and grows by a quarter."""

    growth: float = 1.25
    num_steps: int = static(default=16)

    num_agents = 2
    action_spaces = (Discrete(3), Discrete(3))
    observation_shape = (3,)
    is_symmetric = True

    @property
    def episode_length(self):
        return self.num_steps

    def reset(self, key):
        lake = Lake(jnp.float32(10), jnp.zeros(2), jnp.int32(0))
        return lake, self._emit(lake)

    def step(self, key, state, action):
        asked = action.astype(jnp.float32)
        share = jnp.minimum(1.0, state.fish / jnp.maximum(asked.sum(), 1.0))
        catch = share * asked
        fish = jnp.minimum(10.0, self.growth * (state.fish - catch.sum()))
        lake = Lake(fish, catch, state.time + 1)
        return lake, self._emit(lake)

    def _emit(self, lake):
        fish = jnp.broadcast_to(lake.fish / 10, (2,))
        seen = jnp.stack([fish, lake.catch, lake.catch[::-1]], axis=1)
        return in_window(seen, lake.catch, lake.time, self.num_steps)


def fishing(growth: float = 1.25, num_steps: int = 16) -> Fishing:
    """The constructor; its arguments are the options of the command line."""
    return Fishing(growth, num_steps=num_steps)


# --8<-- [end:rules]
# --8<-- [start:players]
NAMES = ("modest", "greedy", "reciprocal")


def act(params, key, observation, memory):
    """Asks for 1 fish, for 2, or for 2 if the other boat just did."""
    other = observation[..., 2]
    one, two = jnp.ones_like(other), jnp.full_like(other, 2)
    answers = jnp.stack([one, two, jnp.where(other > 1, two, one)], axis=-1)
    action = answers[..., params].astype(jnp.int32)
    return PolicyOutput(action, jnp.zeros_like(other), jnp.zeros_like(other), memory)


def players(env: Fishing) -> Players:
    return Players(scripted_policy(act), NAMES, lambda name: player_number(name, NAMES))


# --8<-- [end:players]
# --8<-- [start:measures]
def measures(env: Fishing, episodes) -> dict[str, Array]:
    return {"fish in the lake": episodes.mean(episodes.state.fish[:-1])}


# --8<-- [end:measures]
# --8<-- [start:words]
WORDINGS = Path(__file__).parent / "fishing_wordings"
FILES = {
    "opening": Placeholders((), ("rounds",)),
    "round": Placeholders((("fish",), ("other",)), ("own",)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class FishingWords(TextGame):
    """Both boats say "I take 0", "I take 1" or "I take 2"."""

    env: Fishing
    num_rounds: int
    wording: Wording

    name = "fishing"
    steps = (True,)  # a round is one step of the environment
    patterns = {"catch": "I take [0-2]"}
    invalid_rule = "it counts as taking nothing"
    silent = np.zeros((), np.int32)

    def ask(self, table: Table, seat: int) -> Ask:
        """What a seat is told before it answers."""
        if table.step == 0:
            return Ask(self.wording.write("opening", rounds=self.num_rounds), "catch")
        own, other = table.state.catch[[seat, 1 - seat]]
        numbers = {"fish": table.state.fish, "own": own, "other": other}
        text = {name: f"{number:.1f}" for name, number in numbers.items()}
        return Ask(self.wording.write("round", **text), "catch")

    def facts(self, state: Lake) -> dict[str, list]:
        """What is written down of a round beside actions and rewards."""
        return {"fish": [float(state.fish)] * 2}

    def parse(self, kind: str, text: str) -> Parsed:
        """An answer as an action; any text at all."""
        text = trimmed(text)  # white space around an answer is not judged
        valid = text in ("I take 0", "I take 1", "I take 2")
        return Parsed(np.asarray(int(text[-1]) if valid else 0, np.int32), valid)

    def say(self, kind: str, action: np.ndarray) -> str:
        """An action as an answer, for scripted players."""
        return f"I take {int(action)}"

    def templates(self) -> Mapping[str, str]:
        """What `aajax wording copy` writes."""
        return self.wording.templates

    def scripted(self) -> Players:
        return players(self.env)

    def tallies(self, matches, reward: np.ndarray) -> dict[str, Tally]:
        """Measures: here, how many fish are asked for in a round."""
        return {"asked_for": over_rounds(actions_of(self, matches)[:, :, -1])}


def fishing_words(num_rounds: int = 8, wording: str | Path = "full") -> FishingWords:
    """The constructor; its arguments are the options of the command line."""
    templates = load_wording(wording, WORDINGS, FILES)
    return FishingWords(fishing(num_steps=num_rounds), num_rounds, templates)


# --8<-- [end:words]
# --8<-- [start:spec]
SPEC = EnvSpec(
    "fishing",
    "Two boats on one lake: what they leave of the fish grows back.",
    fishing,
    players=players,
    measures=measures,
    words=TextSpec("fishing", "Two boats say how much they take.", fishing_words),
)
# --8<-- [end:spec]
