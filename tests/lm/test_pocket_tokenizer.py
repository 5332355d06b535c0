"""Pocket tokenizers spell any text, and others can read their folders."""

import json

import hypothesis
import hypothesis.strategies as st
import pytest
from transformers import AutoTokenizer

from aajax.lm.text.chat import find_template
from aajax.lm.text.pocket_tokenizer import SMALLEST, pocket_tokenizer
from aajax.lm.text.tokens import load_tokenizer

TEXTS = ["you ask and I answer, you keep and I keep what we ask for"] * 3
# Not qwen2, to which transformers gives a pre-tokenizer of its own, whatever the folder
# says; no pocket model is one.
MODEL_TYPES = [None, "qwen3", "llama", "gemma3_text"]

examples = hypothesis.settings(deadline=None, max_examples=100, derandomize=True)


@pytest.fixture(scope="module", params=[None, TEXTS], ids=["bytes", "trained"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pocket")
    pocket_tokenizer(folder, request.param, vocab_size=280)
    return folder


@pytest.fixture(scope="module")
def tokens(folder):
    return load_tokenizer(folder)


def test_any_text_comes_back(tokens):
    @examples
    @hypothesis.given(st.text())
    def check(text):
        ids = tokens.encode(text)
        assert tokens.decode(ids) == text
        assert {*tokens.markers.values()}.isdisjoint(ids)

    check()


def test_any_bytes_can_be_sampled(tokens):
    ids = {piece: i for i, piece in enumerate(tokens.pieces)}

    @examples
    @hypothesis.given(st.binary())
    def check(data):
        sampled = [ids[bytes([byte])] for byte in data]
        assert tokens.decode(sampled) == data.decode(errors="replace")

    check()


def test_without_texts_a_token_is_its_byte(tmp_path):
    tokens = pocket_tokenizer(tmp_path / "new" / "folder")
    assert tokens.encode("aé\n") == list("aé\n".encode())
    assert list(tokens.pieces[:256]) == [bytes([byte]) for byte in range(256)]
    assert tokens.pieces[256:] == (None,) * 5
    assert tokens.vocab_size == SMALLEST == 261


def test_training_shortens_what_it_was_trained_on_and_is_repeatable(tmp_path):
    first = pocket_tokenizer(tmp_path / "a", TEXTS, vocab_size=280)
    pocket_tokenizer(tmp_path / "b", iter(TEXTS), vocab_size=280)
    assert first.vocab_size == 280
    assert len(first.encode(TEXTS[0])) < 0.75 * len(TEXTS[0])
    files = ["tokenizer.json", "tokenizer_config.json"]
    for file in files:
        a, b = ((tmp_path / folder / file).read_text() for folder in "ab")
        assert a == b
    assert pocket_tokenizer(tmp_path / "c", [], vocab_size=280).vocab_size == SMALLEST


def test_its_end_of_turn_stops(tokens):
    assert tokens.end_of_turn == "<|done|>"
    assert tokens.stop_ids == {tokens.markers["<|done|>"]}
    assert tokens.pad_id == tokens.markers["<|pad|>"] not in tokens.stop_ids


@pytest.mark.parametrize("system", [None, "Bargain."])
def test_its_dialogues(tokens, system):
    template = find_template(tokens, system)
    assert not template.merges_user_turns
    assert not template.trims
    ids = template.opening("ask") + tokens.encode("so") + [template.end_of_turn]
    ids += template.next_turn(["and ", "<|done|>"], stopped=True)
    ids += tokens.encode("yes") + template.close(stopped=False)
    expected = (
        "<|user|>ask<|done|><|assistant|>so<|done|>"
        "<|user|>and <|done|><|user|><|done|><|done|><|assistant|>yes<|done|>"
    )
    if system is not None:
        expected = f"<|system|>{system}<|done|>" + expected
    assert tokens.tokenizer.decode(ids) == expected
    markers = {*tokens.markers.values()}
    num_spelled = 1
    num_markers = sum(i in markers for i in ids)
    assert num_markers == expected.count("<|") - num_spelled


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_other_programs_read_the_folder(folder, tokens, tmp_path, model_type):
    for file in folder.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    if model_type is not None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    other = AutoTokenizer.from_pretrained(tmp_path)
    text = "  you  ask\n\nand 🎲 don't<|user|>"
    whole = tokens.tokenizer.encode(text, add_special_tokens=False)
    assert other.encode(text) == whole
    assert whole[-1] == tokens.markers["<|user|>"]
    assert other.decode(whole) == text
    assert (other.eos_token, other.pad_token) == ("<|done|>", "<|pad|>")
    messages = [{"role": "user", "content": "ask"}]
    ids = other.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    assert ids == find_template(tokens).opening("ask")


def test_a_vocabulary_without_room_for_all_bytes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="vocab_size is 260: at least 261 is needed"):
        pocket_tokenizer(tmp_path, TEXTS, vocab_size=260)
