"""Group baselines and normalisation, member by member."""

import math

import numpy as np


def leave_one_out(x, group=None):
    """Each member minus the mean of the other members of its group."""
    num_members = len(x)
    group = [0] * num_members if group is None else group
    result = np.zeros(np.shape(x))
    for b in range(num_members):
        others = [c for c in range(num_members) if c != b and group[c] == group[b]]
        baseline = np.zeros(np.shape(x[b]))
        for c in others:
            baseline = baseline + x[c] / len(others)
        result[b] = x[b] - baseline
    return result


def whiten(x, mask=None, epsilon=1e-8):
    """(x − mean) / (deviation + ε) over the entries that count, 0 elsewhere."""
    mask = np.ones(np.shape(x), bool) if mask is None else mask
    entries = [float(x[index]) for index in np.ndindex(*np.shape(x)) if mask[index]]
    mean = sum(entries) / len(entries)
    variance = sum((entry - mean) ** 2 for entry in entries) / len(entries)
    result = np.zeros(np.shape(x))
    for index in np.ndindex(*np.shape(x)):
        if mask[index]:
            result[index] = (x[index] - mean) / (math.sqrt(variance) + epsilon)
    return result
