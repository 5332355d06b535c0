"""The Negotiation Game, item by item and agent by agent."""

import numpy as np


def divide_when_above(pool, utility, proposal):
    """An item is divided by what was asked; of less than 5 in all, the rest is lost."""
    return _shared(pool, utility, proposal, lambda asked: max(asked, 5.0))


def proportion(pool, utility, proposal):
    """An item is divided in proportion to what was asked."""
    return _shared(pool, utility, proposal, lambda asked: asked + 1e-8)


def exact_split(pool, utility, proposal):
    """All get what they asked for if there is enough of everything, else nothing."""
    num_agents, num_items = np.shape(proposal)
    for item in range(num_items):
        if sum(proposal[agent][item] for agent in range(num_agents)) > pool[item]:
            return np.zeros(num_agents)
    return np.array([np.dot(utility[i], proposal[i]) for i in range(num_agents)])


def exact_match(pool, utility, proposal):
    """All get what they asked for if that is all there is of everything."""
    num_agents, num_items = np.shape(proposal)
    for item in range(num_items):
        if sum(proposal[agent][item] for agent in range(num_agents)) != pool[item]:
            return np.zeros(num_agents)
    return np.array([np.dot(utility[i], proposal[i]) for i in range(num_agents)])


def _shared(pool, utility, proposal, whole):
    num_agents, num_items = np.shape(proposal)
    result = np.zeros(num_agents)
    for item in range(num_items):
        asked = sum(proposal[agent][item] for agent in range(num_agents))
        for agent in range(num_agents):
            share = proposal[agent][item] / whole(asked)
            result[agent] += pool[item] * utility[agent][item] * share
    return result


def is_deal_or_no_deal(pool, utility):
    """Whether a context obeys the rules of Lewis et al. 2017."""
    num_agents, num_items = np.shape(utility)
    whole = [float(x).is_integer() for x in (*pool, *np.reshape(utility, -1))]
    worth = [
        sum(pool[j] * utility[i][j] for j in range(num_items))
        for i in range(num_agents)
    ]
    wanted_by = [
        sum(utility[i][j] > 0 for i in range(num_agents)) for j in range(num_items)
    ]
    return (
        all(whole)
        and min(pool) >= 1
        and 5 <= sum(pool) <= 7
        and np.min(utility) >= 0
        and worth == [10] * num_agents
        and min(wanted_by) >= 1
        and max(wanted_by) == num_agents
    )
