"""Value losses, one number at a time."""

import numpy as np


def squared(value, target):
    """½ (v − target)²."""
    result = np.zeros(np.shape(value))
    for index in np.ndindex(*result.shape):
        result[index] = 0.5 * (value[index] - target[index]) ** 2
    return result


def huber(value, target, delta=1.0):
    """½ e² for |e| ≤ δ, δ (|e| − δ/2) beyond."""
    result = np.zeros(np.shape(value))
    for index in np.ndindex(*result.shape):
        error = abs(value[index] - target[index])
        if error <= delta:
            result[index] = 0.5 * error**2
        else:
            result[index] = delta * (error - 0.5 * delta)
    return result


def clipped(value, behaviour_value, target, clip):
    """The larger of the losses of v and of v kept within ±clip of v_old."""
    result = np.zeros(np.shape(value))
    for index in np.ndindex(*result.shape):
        old = behaviour_value[index]
        bounded = min(max(value[index], old - clip), old + clip)
        result[index] = max(
            0.5 * (value[index] - target[index]) ** 2,
            0.5 * (bounded - target[index]) ** 2,
        )
    return result
