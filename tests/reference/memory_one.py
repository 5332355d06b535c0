"""Memory-one policies in iterated games, by following the chain of play."""

import itertools

import numpy as np


def joint_transitions(policies):
    """P[s, 1 + joint action] = Π_i π_i(a_i | s); START is never returned to."""
    num_agents, num_states, num_actions = np.shape(policies)
    result = np.zeros((num_states, num_states))
    joint_actions = itertools.product(range(num_actions), repeat=num_agents)
    for number, joint_action in enumerate(joint_actions):
        for state in range(num_states):
            chance = 1.0
            for agent in range(num_agents):
                chance *= policies[agent][state][joint_action[agent]]
            result[state, 1 + number] = chance
    return result


def memory_one_values(payoff, policies, gamma, num_rounds):
    """Σ_t γ^t E[payoff of round t], from every state, over a finite number of rounds.

    The remainder is below γ^num_rounds / (1 − γ) times the largest payoff.
    """
    num_agents, num_states, num_actions = np.shape(policies)
    transitions = joint_transitions(policies)
    values = np.zeros((num_states, num_agents))
    for start in range(num_states):
        chance = np.zeros(num_states)
        chance[start] = 1.0
        for t in range(num_rounds):
            chance = chance @ transitions
            joint_actions = itertools.product(range(num_actions), repeat=num_agents)
            for number, joint_action in enumerate(joint_actions):
                for agent in range(num_agents):
                    earned = payoff[(agent, *joint_action)]
                    values[start, agent] += gamma**t * chance[1 + number] * earned
    return values
