"""95 % confidence intervals of mean rewards, over seeds and over games."""

from collections.abc import Sequence

import numpy as np


def mean_over_seeds(
    values: np.ndarray, players: Sequence[int]
) -> tuple[float, float | None]:
    """The mean over line-ups of seeds, and the half-width of its 95 % interval.

    Each player is a population, of which some random seeds were trained; the interval
    is for the mean over all possible seeds of all players in the game, not only of one
    seat's. The variance is the sum, over players, of the jackknife's,

        V_p = (M − 1) / M Σ_m (θ_−m − mean θ_−m)²,

    where θ_−m is the mean without the line-ups in which seed m of player p plays. For
    two players it is that of a two-way mean, s²_rows / M + s²_columns / K; for a player
    with itself that of a U-statistic (Arvesen 1969). Degrees of freedom are
    Satterthwaite's. Where a player meets itself, its seats are taken by different
    seeds, as long as it has more seeds than seats.

    Args:
      values: f64[M_1, ..., M_N], by the seed in each seat.
      players: [N], player of each seat; equal numbers are the same player.

    Returns:
      The mean and the half-width, which is None if every player has only one seed.
    """
    axes = [np.flatnonzero(np.asarray(players) == p) for p in dict.fromkeys(players)]
    place = np.indices(values.shape)
    counts = np.ones(values.shape, bool)
    for own in axes:
        if values.shape[own[0]] > len(own) > 1:
            for i, axis in enumerate(own):
                for other in own[i + 1 :]:
                    counts &= place[axis] != place[other]
    variance, freedom = 0.0, 0.0
    for own in axes:
        num_seeds = values.shape[own[0]]
        if num_seeds == 1:
            continue
        without = [
            values[counts & (place[own] != seed).all(0)].mean()
            for seed in range(num_seeds)
        ]
        part = (num_seeds - 1) * np.var(without)
        variance += part
        freedom += part**2 / (num_seeds - 1)
    mean = float(values[counts].mean())
    if max(values.shape) == 1:
        return mean, None
    if variance == 0:
        return mean, 0.0
    half = student(variance**2 / freedom) * np.sqrt(variance)
    return mean, float(half)


def mean_over_games(
    total: np.ndarray, count: np.ndarray
) -> tuple[float | None, float | None]:
    """Σ total / Σ count over games, and the half-width of its 95 % interval.

    Of the ratio R the variance is K / (K − 1) Σ_k (total_k − R count_k)² / (Σ count)²
    over the K games that count, and t_{K−1} its distribution; where all count alike it
    is the interval of a mean.

    Args:
      total, count: f64[games].

    Returns:
      The ratio and the half-width; both None if no game counts, the half-width None if
      only one does.
    """
    counts = count > 0
    num = int(counts.sum())
    if num == 0:
        return None, None
    size = count[counts].sum()
    ratio = total[counts].sum() / size
    if num == 1:
        return float(ratio), None
    rest = total[counts] - ratio * count[counts]
    error = np.sqrt(num / (num - 1) * (rest**2).sum()) / size
    return float(ratio), float(student(num - 1) * error)


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t distribution with degrees of freedom."""
    from scipy.special import stdtrit  # which takes long to import

    return float(stdtrit(freedom, 0.975))
