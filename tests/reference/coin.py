"""The Coin Game, agent by agent and cell by cell."""

import string

import numpy as np

STEPS = {0: (0, -1), 1: (0, 1), 2: (-1, 0), 3: (1, 0), 4: (0, 0)}


def drawn(text):
    """Cells of agents A, B, ..., of their coins a, b, ..., and whose these are."""
    found = {
        letter: cell
        for cell, letters in enumerate(text.split())
        for letter in letters
        if letter != "."
    }
    position = [found[x] for x in string.ascii_uppercase if x in found]
    owner = [i for i, x in enumerate(string.ascii_lowercase) if x in found]
    coin = [found[string.ascii_lowercase[i]] for i in owner]
    return position, coin, owner


def move(cell, action, height, width):
    """One step on the torus; (row, column) and back."""
    down, right = STEPS[int(action)]
    return (cell[0] + down) % height, (cell[1] + right) % width


def take(position, coin, owner, gain=1.0, loss=-2.0):
    """Rewards [N], and which coins are taken [K]."""
    reward = np.zeros(len(position))
    taken = []
    for cell, whose in zip(coin, owner, strict=True):
        takers = [agent for agent, at in enumerate(position) if at == cell]
        for agent in takers:
            reward[agent] += gain
        if any(agent != whose for agent in takers):
            reward[whose] += loss
        taken.append(len(takers) > 0)
    return reward, taken


def free_cells(position, height, width):
    """Cells without agents, row by row."""
    cells = [(row, column) for row in range(height) for column in range(width)]
    return [cell for cell in cells if cell not in position]


def observe(position, coin, owner, height, width):
    """Planes [N, 2N, H, W], flat: for each seat all agents, then all their coins."""
    num_agents = len(position)
    result = np.zeros((num_agents, 2 * num_agents, height, width))
    for seat in range(num_agents):
        for plane in range(num_agents):
            agent = (seat + plane) % num_agents
            result[seat, plane][position[agent]] = 1
            for cell, whose in zip(coin, owner, strict=True):
                if whose == agent:
                    result[seat, num_agents + plane][cell] = 1
    return result.reshape(num_agents, -1)
