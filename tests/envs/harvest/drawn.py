"""Games of Commons Harvest drawn as text, and played from there.

Agents are ^ > v <, numbered as one reads, on plain floor; _ is a site without apple.
All else is drawn as in `aajax.envs.harvest.layout`. An environment is compiled once for
all pictures of one map and number of agents.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.harvest import commons_harvest

HEADINGS = "^>v<"
MOVES = ".FBLRlrZ"  # as the actions: wait, walk, turn (small letters), zap
GAMES, STEPS = 512, 8
NEVER, ALWAYS = (0, 0, 0, 0), (0, 1, 1, 1)


def drawn(picture, grows=NEVER):
    """The environment and the state of a picture, which need not have spawn points."""
    rows = picture.split()
    plain = "\n".join(rows)
    plain = plain.translate(str.maketrans({**dict.fromkeys(HEADINGS, "."), "_": "o"}))
    width = len(rows[0])
    if "s" not in plain:
        # A room below the map, with a site if there is none.
        site = "." if "o" in plain else "o"
        room = ["s" * (width - 2), site + "." * (width - 3)]
        plain = "\n".join([plain, *(f"#{row}#" for row in room), "#" * width])
    cells = "".join(rows)
    agents = [(i, HEADINGS.index(c)) for i, c in enumerate(cells) if c in HEADINGS]
    position, heading = np.array(agents, np.int32).T
    env = commons_harvest(
        plain + "\n", len(agents), probabilities=np.array(grows, np.float32)
    )
    state = jax.eval_shape(env.reset, jax.random.key(0))[0]
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state)
    apple = [i >= len(cells) or cells[i] == "o" for i in env.layout.site]
    return env, state._replace(
        position=position,
        heading=heading,
        apple=np.array(apple),
        grass=np.ones(len(apple), bool),
        label=np.full(len(apple), -1, np.int32),
    )


@functools.partial(jax.jit, static_argnames="games")
def _play(env, state, action, games):
    def play_one(key):
        def body(state, x):
            state, timestep = env.step(x[0], state, x[1])
            return state, (state, timestep)

        keys = jax.random.split(key, STEPS)
        return jax.lax.scan(body, state, (keys, action))[1]

    states, timesteps = jax.vmap(play_one)(jax.random.split(jax.random.key(0), games))
    # Of what is seen, one game is enough to bring back.
    return states, timesteps._replace(observation=timesteps.observation[:1])


def play(env, state, *moves, games=GAMES):
    """Plays one string of moves per agent; states and time steps, [games, T, ...].

    Observations are those of the first game alone.
    """
    padded = [agent.ljust(STEPS, ".") for agent in moves]
    action = np.array([[MOVES.index(x) for x in agent] for agent in padded], np.int32)
    state = jax.tree.map(jnp.asarray, state)
    played = jax.device_get(_play(env, state, action.T, games))
    return jax.tree.map(lambda x: x[:, : len(moves[0])], played)


def cell(env, row, column):
    return row * env.layout.width + column
