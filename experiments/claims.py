"""The claims of the leaderboard: what is trained, and what is read from it.

`all.py` trains and compares. The names of claims are those in the first column of the
table in README.md.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import against_learners
import exploitability
import harvest
import public_goods
from coin import options_of

import aajax

FIRST_SEED = 100  # settings were chosen on seeds 0 to 9
COIN_SEED = 200  # those of the coin game on seeds 100 and 101
Numbers = Sequence[float | None]  # one for each seed
Read = Callable[[aajax.Run], Sequence[Numbers]]


@dataclasses.dataclass(frozen=True)
class Training:
    """A run that claims are about.

    Attributes:
      preset: of `aajax train`.
      minutes: that it took on two cores, closing evaluation included.
      seeds: how many.
      options: what differs from the preset.
    """

    preset: str
    minutes: float
    seeds: int = 10
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    first_seed: int = FIRST_SEED  # on which, and those after it, nothing was chosen

    def run(self, folder: Path) -> aajax.Run:
        """The finished run in the folder, which is trained (on) if it is not there."""
        # Language models' runs name their first seed otherwise.
        first = "seed" if self.preset.startswith("lm-") else "first_seed"
        return aajax.train(
            self.preset,
            name=folder.name,
            out=folder,
            resume=True,
            progress=True,
            **{first: self.first_seed, "seeds": self.seeds, **self.options},
        ).raise_for_divergence()


def coin(suffix: str, size: int, minutes: float) -> Training:
    """A learner of the coin game; on larger boards five seeds, as the log has them."""
    preset = f"coin{suffix}"
    if size == 3:
        return Training(preset, minutes, first_seed=COIN_SEED)
    options = {"options": options_of(preset, size)}
    return Training(preset, minutes, 5, options, COIN_SEED)


RUNS = {
    "ipd": Training("ipd", 0.5),
    "ipd-gru": Training("ipd-gru", 3.5),
    "ipd-naive": Training("ipd-naive", 1),
    "ipd-sum": Training("ipd-sum", 1.5),
    "ipd-lola-exact": Training("ipd-lola-exact", 0.6),
    "ipd-pola-exact": Training("ipd-pola-exact", 1),
    "ipd-pola": Training("ipd-pola", 6),
    "ipd-mfos": Training("ipd-mfos", 10, 2),
    "ipd-loqa": Training("ipd-loqa", 10),
    "public-goods-3": Training("public-goods-3", 1.5),
    "public-goods-5": Training("public-goods-5", 4.5),
    "public-goods-7": Training("public-goods-7", 6),
    "negotiation": Training("negotiation", 6),
    "negotiation-ppo": Training("negotiation-ppo", 6),
    "coin": coin("", 3, 5),
    "coin-loqa": coin("-loqa", 3, 2),
    "coin-7": coin("", 7, 2),
    "coin-loqa-7": coin("-loqa", 7, 2),
    "harvest-small": Training("harvest-small", 12, 5),
    "harvest-small-ppo": Training("harvest-small-ppo", 12, 5),
    "lm-ipd": Training("lm-ipd", 5, 5),
    "lm-ipd-naive": Training("lm-ipd-naive", 4, 5),
    "lm-split": Training("lm-split-aa-no-buffer", 30, 5),
    "lm-split-naive": Training("lm-split-naive", 15, 5),
    "lm-trust-and-split": Training("lm-trust-and-split-aa-no-buffer", 45, 5),
    "lm-trust-and-split-naive": Training("lm-trust-and-split-naive", 25, 5),
}


def setting(run: aajax.Run) -> dict[str, Any]:
    """What the summary says of a run without a sweep."""
    (found,) = run.summary["settings"]
    return found


def itself(run: aajax.Run) -> Sequence[Numbers]:
    """Reward with itself."""
    return [setting(run)["mean_reward"]]


def against(who: str) -> Read:
    """Reward against a scripted player."""
    return lambda run: [setting(run)["league"][who]]


def answers(run: aajax.Run) -> Sequence[Numbers]:
    """Probabilities of cooperating, at the start and after each outcome."""
    found = setting(run)["p_cooperate"]
    return [found[outcome] for outcome in ("start", "CC", "CD", "DC", "DD")]


def learner_of(run: aajax.Run) -> Sequence[Numbers]:
    """Rewards of the policy and of the naive learner in the exact meta-game."""
    found = setting(run)["measures"]
    return [setting(run)["mean_reward"], found["reward of the naive learner"]]


def in_the_last_episode(run: aajax.Run) -> Sequence[Numbers]:
    """Rewards of policy and naive learner in the last episode of a meta-game."""
    config = against_learners.Config((run.folder,))
    return list(against_learners.rewards(run.folder, config)[:, 2:].T)


def exploited(run: aajax.Run) -> Sequence[Numbers]:
    """What a best response gains."""
    config = exploitability.Config((run.folder,))
    mine, gained, *_ = exploitability.rewards(run.folder, config)
    return [gained - mine]


def goods(run: aajax.Run) -> Sequence[Numbers]:
    """Reward in a public-goods game, among its like."""
    return _of_last_seat(run, 0)


def defector(run: aajax.Run) -> Sequence[Numbers]:
    """Reward of one defector among copies in a public-goods game."""
    return _of_last_seat(run, 1)


def _of_last_seat(run: aajax.Run, num_defectors: int) -> Sequence[Numbers]:
    assert isinstance(run, aajax.SmallRun)
    num_games = public_goods.Config.num_games
    return [public_goods.rewards(run, num_defectors, num_games)[1]]


def apples(run: aajax.Run) -> Sequence[Numbers]:
    """Apples per agent."""
    assert isinstance(run, aajax.SmallRun)
    games = harvest.Config.num_games, run.config.steps_per_episode
    return [harvest.among_themselves(run.env, harvest.group(run), *games)[1]]


AC, AD = "always_cooperate", "always_defect"
# Of each run: names of claims, what is read, digits behind the point.
TABLE: dict[str, list[tuple[str, Read, int]]] = {
    "ipd": [
        ("**IPD**: AA with itself (−1: both cooperate)", itself, 2),
        ("IPD: AA's P(C) at the start, after CC, CD, DC, DD", answers, 2),
        ("IPD: AA against AD (tit-for-tat: −2.0625)", against(AD), 3),
        ("IPD: a naive learner learns against AA: AA, it", in_the_last_episode, 2),
        ("IPD: what a best response to AA gains", exploited, 3),
    ],
    "ipd-gru": [("IPD: AA, recurrent, with itself", itself, 2)],
    "ipd-naive": [("IPD: naive learners", itself, 2)],
    "ipd-sum": [("IPD: learners of the sum against AD", against(AD), 3)],
    "ipd-lola-exact": [("IPD: LOLA, exact, with itself", itself, 2)],
    "ipd-pola-exact": [("IPD: POLA, exact, with itself", itself, 2)],
    "ipd-pola": [("IPD: POLA, sampled, with itself", itself, 2)],
    "ipd-mfos": [("IPD: M-FOS, exact, and its naive learner", learner_of, 2)],
    "ipd-loqa": [("IPD: LOQA with itself", itself, 2)],
    **{
        f"public-goods-{size}": [
            (f"{name} of {size}: AA with itself (.6 at best)", goods, 3),
            (f"Public goods of {size}: a defector among AA", defector, 3),
        ]
        for size, name in (
            (3, "**Public goods**"),
            (5, "Public goods"),
            (7, "Public goods"),
        )
    },
    "negotiation": [
        ("**Negotiation**: AA with itself (.5: both cooperate)", itself, 3),
        ("Negotiation: AA against AC", against(AC), 3),
        ("Negotiation: AA against AD", against(AD), 3),
        ("Negotiation: what a best response to AA gains", exploited, 3),
    ],
    "negotiation-ppo": [("Negotiation: PPO with itself", itself, 3)],
    "coin": [
        ("**Coin**, 3 × 3: AA with itself (.348: both cooperate)", itself, 2),
        ("Coin, 3 × 3: AA against AC", against(AC), 2),
        ("Coin, 3 × 3: AA against AD", against(AD), 2),
        ("Coin, 3 × 3: what a best response to AA gains", exploited, 3),
    ],
    "coin-loqa": [
        ("Coin, 3 × 3: LOQA with itself", itself, 2),
        ("Coin, 3 × 3: LOQA against AD", against(AD), 2),
    ],
    "coin-7": [
        ("Coin, 7 × 7: AA with itself (PPO: .00)", itself, 2),
        ("Coin, 7 × 7: AA against AD", against(AD), 2),
    ],
    "coin-loqa-7": [("Coin, 7 × 7: LOQA with itself", itself, 2)],
    "harvest-small": [("**Harvest**, small map: apples of each AA", apples, 1)],
    "harvest-small-ppo": [("Harvest, small map: apples of each PPO", apples, 1)],
    "lm-ipd": [
        ("**Text IPD**: AA with itself (3: both cooperate)", itself, 2),
        ("Text IPD: AA against AD (.9: one round of ten lost)", against(AD), 2),
    ],
    "lm-ipd-naive": [("Text IPD: naive learners", itself, 2)],
    "lm-split": [
        ("**Text Split**: AA with itself (127.5; greed: 82.5)", itself, 1),
        ("Text Split: AA against AD (68.3: gives to the greedy)", against(AD), 1),
    ],
    "lm-split-naive": [("Text Split: naive learners", itself, 1)],
    "lm-trust-and-split": [
        (
            "**Text Trust-and-Split**: AA with itself (50; greed: 27.5)",
            itself,
            1,
        ),
        ("Text Trust-and-Split: with messages of others", against("shuffled"), 1),
        ("Text Trust-and-Split: AA against AD", against(AD), 1),
    ],
    "lm-trust-and-split-naive": [("Text Trust-and-Split: naive learners", itself, 1)],
}
