"""config.json of every family: read, written and read again."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aajax import lm
from aajax.lm.model.config import FAMILIES, Delta

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def read(model_type, **changes):
    return lm.config_from_hf({**SMALL, "model_type": model_type, **changes})


@st.composite
def ropes(draw, kinds=("default", "linear", "llama3", "yarn")):
    theta = draw(st.sampled_from([1e4, 5e5, 1e6, 123.5]))
    kind = draw(st.sampled_from(kinds))
    more = {} if kind == "default" else {"factor": draw(st.sampled_from([2.0, 8.5]))}
    if kind == "llama3":
        more |= {"high_frequency_factor": 3.0, "original_length": 4096}
    if kind == "yarn":
        more |= {"attention_factor": draw(st.sampled_from([None, 1.0])), "beta_slow": 2}
        more |= {"is_truncated": draw(st.booleans()), "original_length": 4096}
    return lm.Rope(theta, kind, **more)


def of_phi3(draw, head_dim):
    """A rope of Phi-3, and the longest sequence."""
    share = draw(st.sampled_from([0.5, 1.0]))
    if draw(st.booleans()):
        return lm.Rope(share=share), draw(st.integers(1, 200_000))
    factors = {"short_factors": (1.0, 1.5) * int(head_dim * share / 4)}
    factors["long_factors"] = tuple(2 * x for x in factors["short_factors"])
    more = {"kind": "longrope", "factor": 32.0, "original_length": 4096}
    return lm.Rope(1e4, share=share, **more, **factors), 4096


def of_gemma4(draw, sliding):
    """Which layers share keys, and how those of full attention are."""
    most = len(sliding) - 1 - max(sliding.index(kind) for kind in set(sliding))
    shared = draw(st.integers(0, most))
    wide, same = shared > 0 and draw(st.booleans()), draw(st.booleans())
    heads = draw(st.sampled_from([None, 1])) if same else None
    return {"num_shared": shared, "wide_shared": wide, "keys_as_values": same} | {
        "full_kv_heads": heads
    }


# The fields of a family that are not as in the plainest decoder, or what they can be.
NUMBER = st.sampled_from([0.25, 12.0])
GEMMA = {
    "sandwich_norm": True,
    "unit_offset": True,
    "attention_cap": st.sampled_from([None, 50.0]),
    "logit_cap": st.sampled_from([None, 30.0]),
    "query_scale": st.sampled_from([None, 168**-0.5, 256**-0.5]),
}
OLMO = {"joint_qk_norm": True, "pre_norm": False, "sandwich_norm": True}
FIELDS = {
    "qwen2": {"attention_bias": True},
    "qwen3": {"qk_norm": True},
    "qwen3_moe": {
        "qk_norm": True,
        "num_experts": 5,
        "experts_per_token": st.integers(1, 5),
        "normalise_experts": st.booleans(),
    },
    "qwen3_5_text": {
        "qk_norm": True,
        "unit_offset": True,
        "output_gate": True,
        "delta": Delta(2, 4, 6, 10),
    },
    "llama": {"mlp_bias": st.booleans()},
    "smollm3": {"mlp_bias": st.booleans()},
    "ministral3": {"query_growth": st.sampled_from([None, 0.1])},
    "granite": {
        "mlp_bias": st.booleans(),
        "query_scale": NUMBER,
        "embedding_scale": NUMBER,
        "residual_scale": NUMBER,
        "logit_divisor": NUMBER,
    },
    "olmo2": OLMO,
    "olmo3": OLMO,
    "gemma2": GEMMA,
    "gemma3_text": {**GEMMA, "qk_norm": True},
    "gemma4_text": {
        "sandwich_norm": True,
        "qk_norm": True,
        "value_norm": True,
        "layer_scale": True,
        "query_scale": 1.0,
        "logit_cap": st.sampled_from([None, 30.0]),
        "full_head_dim": st.sampled_from([None, 16]),
        "wide_shared": False,
        "per_layer_size": st.sampled_from([0, 6]),
    },
}
UNBIASED = ("qwen2", "mistral", "ministral", "ministral3", "phi3")


@st.composite
def configs(draw):
    """What a family's config.json can say, with all that it cannot left as it is."""
    family = draw(st.sampled_from(FAMILIES))
    biased = family not in UNBIASED and draw(st.booleans())
    layers, hidden = draw(st.integers(1, 7)), draw(st.integers(1, 8192))
    fields = {
        "attention_bias": biased,
        "output_bias": biased,
        "rope": draw(ropes()),
        "activation": draw(st.sampled_from(["silu", "gelu_tanh"])),
        "tie_embeddings": draw(st.booleans()),
        "head_dim": draw(st.sampled_from([8, 128])),
        "max_length": draw(st.integers(1, 200_000)),
    }
    for name, value in FIELDS.get(family, {}).items():
        fields[name] = draw(value) if isinstance(value, st.SearchStrategy) else value
    if family == "phi3":
        fields["rope"], fields["max_length"] = of_phi3(draw, fields["head_dim"])
    if family in ("gemma2", "gemma3_text", "gemma4_text"):
        fields["embedding_scale"] = hidden**0.5
    if family in ("gemma3_text", "gemma4_text", "olmo3"):
        local = draw(ropes())
        fields["local_rope"] = None if local == fields["rope"] else local
    each = st.tuples(*[st.booleans()] * layers)
    if family in ("mistral", "ministral3", "phi3", "qwen3_moe"):
        each = st.booleans().map(lambda entry: (entry,) * layers)
    sliding = draw(each)
    if family == "qwen3_5_text":
        recurrent = (*sliding[1:], False)
        fields["recurrent"] = recurrent if any(recurrent) else ()
    elif family not in ("llama", "granite", "olmo2") and any(sliding):
        fields |= {"sliding": sliding, "window": draw(st.integers(1, 4096))}
    if family == "gemma4_text":
        sliding = (*sliding[:-1], False)
        of_window = {"sliding": sliding, "window": 7} if any(sliding) else {}
        fields |= {"sliding": (), "window": None, **of_window}
        fields |= of_gemma4(draw, sliding)
    if family == "smollm3":
        unrotated = draw(st.tuples(*[st.booleans()] * layers))
        fields["unrotated"] = unrotated if any(unrotated) else ()
    heads = draw(st.sampled_from([1, 2, 4]))
    if fields.get("full_kv_heads") == heads:
        fields["full_kv_heads"] = None
    return lm.DecoderConfig(
        family,
        vocab_size=draw(st.integers(1, 300_000)),
        hidden_size=hidden,
        intermediate_size=draw(st.integers(1, 8192)),
        num_layers=layers,
        num_heads=heads * draw(st.integers(1, 3)),
        num_kv_heads=heads,
        norm_epsilon=draw(st.sampled_from([1e-6, 1e-5])),
        **fields,
    )


@given(configs())
@settings(deadline=None, derandomize=True)
def test_written_configs_are_read_as_they_were(config):
    text = json.dumps(lm.config_to_hf(config))
    assert lm.config_from_hf(json.loads(text)) == config


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_the_same_decoder_is_read_as_one(family):
    rope = {"rope_theta": 1e4}
    config = read(
        family,
        head_dim=16,
        global_head_dim=16,
        query_pre_attn_scalar=16,
        attention_multiplier=0.25,
        full_attention_interval=3,
        sliding_window=None,
        rope_parameters={"full_attention": rope, "sliding_attention": rope},
    )
    left_out = (config.query_scale, config.sliding, config.window, config.local_rope)
    scale = 1.0 if family == "gemma4_text" else None
    assert left_out == (scale, (), None, None)
    said = {"query_scale": scale or 0.25, "sliding": (False,) * 3, "window": 9}
    said["local_rope"] = config.rope
    longer = dataclasses.replace(config, **said)
    assert lm.config_from_hf(lm.config_to_hf(longer)) == config


def test_sizes_of_full_attention_by_older_and_newer_keys():
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    given = {"head_dim": 8, "layer_types": kinds, "attention_k_eq_v": True}
    each = {"head_dim": 16, "num_key_value_heads": 1}
    older = read(
        "gemma4_text", **given, global_head_dim=16, num_global_key_value_heads=1
    )
    newer = read("gemma4_text", **given, per_layer_config={"1": each, "2": each})
    assert older == newer
    assert (older.full_head_dim, older.full_kv_heads) == (16, 1)
    # The last layer has full attention in any case; heads differ with keys for values.
    ends = read("gemma4_text", layer_types=kinds[:1] * 3, num_global_key_value_heads=1)
    assert (ends.sliding, ends.full_kv_heads) == ((True, True, False), None)
    assert (ends.full_head_dim, ends.per_layer_size) == (512, 256)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llama", {"qk_norm": True}, "qk_norm is True: a config.json of llama"),
        ("qwen2", {"attention_bias": False}, "attention_bias is False: "),
        ("qwen3", {"embedding_scale": 2.0}, "embedding_scale is 2.0: "),
        ("mistral", {"sliding": (True, False, True), "window": 4}, "sliding is "),
        ("llama", {"sliding": (True,) * 3, "window": 4}, r"window is 4: .* say None"),
        ("gemma3_text", {"query_scale": 0.3}, "query_scale is 0.3: "),
    ],
)
def test_decoders_that_no_config_json_describes(family, changes, message):
    config = dataclasses.replace(read(family), **changes)
    with pytest.raises(ValueError, match=message):
        lm.config_to_hf(config)


def test_old_and_new_keys_of_rope_say_the_same():
    scaling = {**LLAMA3, "type": LLAMA3["rope_type"]}
    del scaling["rope_type"]
    old = read("llama", rope_theta=5e5, rope_scaling=scaling)
    new = read("llama", rope_parameters={**LLAMA3, "rope_theta": 5e5})
    assert old == new
    assert old.rope == lm.Rope(5e5, "llama3", 8.0, 1.0, 4.0, 8192)
    linear = {"type": "linear", "factor": 8.0}
    old = read("gemma3_text", rope_scaling=linear, rope_local_base_freq=7.0)
    new = read(
        "gemma3_text",
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_theta": 7.0},
        },
    )
    assert old == new
    assert (old.rope, old.local_rope) == (lm.Rope(1e6, "linear", 8.0), lm.Rope(7.0))


def test_gemma_with_images_gives_its_text_part():
    # As the 4B model's folder has it: what is not said is as in the class.
    text = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    config = lm.config_from_hf({"model_type": "gemma3", "text_config": text})
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (8, 4, 256)
    assert config.vocab_size == 262_208
    assert config.tie_embeddings
    assert config.query_scale is None
    assert config.activation == "gelu_tanh"
    assert (config.window, config.sliding[:7]) == (1024, (*[True] * 5, False, True))
    assert config.rope == lm.Rope(1e6, "linear", 8.0)
    assert config.local_rope == lm.Rope(1e4)
    # Tied or not is said of the whole.
    text["tie_word_embeddings"] = True
    untied = {"model_type": "gemma3", "text_config": text, "tie_word_embeddings": False}
    assert not lm.config_from_hf(untied).tie_embeddings


def test_windows_count_only_where_the_model_uses_them():
    assert read("qwen2", sliding_window=4).sliding == ()
    window = {"use_sliding_window": True, "sliding_window": 4}
    assert read("qwen2", **window, max_window_layers=1).sliding == (False, True, True)
    assert read("qwen2", **window, max_window_layers=3).window is None
    assert read("llama", sliding_window=4).sliding == ()
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    assert read("qwen3", **window, layer_types=kinds).sliding == (True, False, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba': one of qwen2, qwen3, llama"),
        ({"model_type": None}, "model_type is None: one of "),
        ({"model_type": ["llama"]}, r"model_type is \['llama'\]: one of qwen2, "),
        (
            {"rope_scaling": {"type": "ntk", "factor": 4}},
            "rope_scaling.type is 'ntk': one of default, linear, llama3, yarn, longr",
        ),
        ({"rope_scaling": {"type": "yarn"}}, "factor is missing: a number is needed"),
        (
            {"model_type": "phi3", "rope_scaling": {"type": "longrope"}},
            "short_factor is missing: a number is needed with rope_type 'longrope'",
        ),
        (
            {
                "model_type": "phi3",
                "rope_scaling": {
                    "type": "longrope",
                    "short_factor": [1, 2],
                    "long_factor": [1, 2],
                },
            },
            "short_factors has 2 entries: 4 are needed",
        ),
        (
            {"model_type": "phi3", "partial_rotary_factor": 0.4},
            "share is 0.4: one that gives an even number of the 8 of a head",
        ),
        (
            {"model_type": "smollm3", "no_rope_layers": [1]},
            "no_rope_layers has 1 entries: one for each of the 3 layers",
        ),
        (
            {"model_type": "qwen3_5_text", "layer_types": ["linear_attention"] * 3},
            "a layer with attention is needed",
        ),
        (
            {"model_type": "gemma4_text", "enable_moe_block": True},
            "enable_moe_block is True: only models without experts are supported in",
        ),
        (
            {"model_type": "gemma4_text", "use_bidirectional_attention": "all"},
            "use_bidirectional_attention is 'all': only causal models are supported",
        ),
        (
            {"model_type": "gemma4_text", "vocab_size_per_layer_input": 7},
            "vocab_size_per_layer_input is 7: that of the vocabulary, ",
        ),
        (
            {"model_type": "gemma4_text", "num_kv_shared_layers": 2},
            "num_shared is 2: layers before them of the same kinds of attention are",
        ),
        (
            {"model_type": "gemma4_text", "num_kv_shared_layers": 3},
            "num_shared is 3: less than the 3 layers is needed",
        ),
        (
            {"model_type": "gemma4_text", "per_layer_config": {"0": {"head_dim": 4}}},
            r"per_layer_config.0 is \{'head_dim': 4\}: layers of one kind of attention",
        ),
        (
            {"model_type": "gemma4_text", "per_layer_config": {"2": {"window": 4}}},
            "per_layer_config.2.window",
        ),
        (
            {"model_type": "qwen3_moe", "mlp_only_layers": [2]},
            r"mlp_only_layers is \(2,\): experts in all layers",
        ),
        (
            {"model_type": "qwen3_moe", "decoder_sparse_step": 2},
            "decoder_sparse_step is 2: experts in all layers",
        ),
        (
            {"model_type": "qwen3_moe", "num_experts": 4},
            "experts_per_token is 8: a number from 1 to 4, that of experts",
        ),
        (
            {"rope_parameters": {"rope_type": "dynamic"}},
            "rope_parameters.rope_type is 'dynamic': one of default",
        ),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": math.nan}}},
            "rope_parameters.full_attention.rope_theta is nan: a number above 0",
        ),
        (
            {"rope_parameters": {"full_attention": 3}},
            "rope_parameters.full_attention is 3: an object is needed",
        ),
        ({"rope_parameters": "x"}, "rope_parameters is 'x': an object is needed"),
        ({"rope_parameters": [1]}, r"rope_parameters is \[1\]: an object is needed"),
        ({"rope_scaling": {"type": "linear"}}, "factor is missing: a number"),
        ({"rope_parameters": {**LLAMA3, "low_freq_factor": None}}, "low_freq_factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "factor is 0.5: only"),
        ({"rope_theta": "1e6"}, "rope_theta is '1e6': a number above 0 is needed"),
        ({"rope_theta": math.inf}, "rope_theta is inf: a number above 0 is needed"),
        ({"rope_theta": 0}, "rope_theta is 0.0: a number above 0 is needed"),
        ({"rms_norm_eps": math.nan}, "rms_norm_eps is nan: a number above 0 is"),
        ({"rms_norm_eps": -1e-6}, "rms_norm_eps is -1e-06: a number above 0 is"),
        (
            {"layer_types": 5},
            r"layer_types is 5: a tuple \(in JSON, a list\) is needed",
        ),
        ({"attention_bias": "no"}, "attention_bias is 'no': true or false is needed"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu': one of silu"),
        ({"hidden_act": 3}, "hidden_act is 3: a text is needed"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0: only"),
        ({"hidden_size": None}, "hidden_size is None: a whole number of at least 1"),
        ({"hidden_size": math.inf}, "hidden_size is inf: a whole number of at least"),
        ({"hidden_size": 2**40}, "hidden_size is 1099511627776: at most 2147483647"),
        (
            {"num_hidden_layers": 10**9},
            r"num_hidden_layers is 1000000000: a whole number in \[1, 100000\] is",
        ),
        ({"num_attention_heads": 0}, "num_attention_heads is 0: "),
        ({"vocab_size": 2.5}, "vocab_size is 2.5: a whole number of at least 1"),
        ({"num_key_value_heads": 3}, "num_kv_heads is 3: a divisor of the 4"),
        (
            {"model_type": "gemma3", "text_config": [1]},
            r"text_config is \[1\]: an object is needed",
        ),
        (
            {"model_type": "gemma3", "text_config": {"vocab_size": "x"}},
            "text_config.vocab_size is 'x': a whole number of at least 1 is needed",
        ),
        (
            {
                "model_type": "qwen3",
                "use_sliding_window": True,
                "sliding_window": 4,
                "layer_types": ["chunked_attention"] * 3,
            },
            "layer_types has 'chunked_attention': one of full_attention, sliding_att",
        ),
        (
            {"model_type": "gemma3_text", "use_bidirectional_attention": True},
            "use_bidirectional_attention is True: only causal",
        ),
    ],
)
def test_what_is_not_supported_is_said(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        lm.config_from_hf({**SMALL, "model_type": "llama", **changes})
    assert "\n" not in str(caught.value)


def test_a_key_that_is_missing():
    keys = {**SMALL, "model_type": "llama"}
    del keys["hidden_size"]
    with pytest.raises(ValueError, match="^hidden_size is missing: a whole number of"):
        lm.config_from_hf(keys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "ntk"}, "kind is 'ntk': one of default"),
        ({"factor": 0.0}, "factor is 0.0: a number above 0"),
        ({"beta_fast": 1.0}, "beta_fast is 1.0: more than beta_slow, 1.0"),
        ({"kind": "yarn", "theta": 1.0}, "theta is 1.0: a number above 1 is needed w"),
        ({"low_frequency_factor": 4.0}, "high_frequency_factor is 4.0: more than"),
    ],
)
def test_ropes_that_are_none(changes, message):
    with pytest.raises(ValueError, match=message):
        lm.Rope(**changes)


def test_frequencies_by_hand():
    plain = np.array([1.0, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(lm.Rope(1e4).frequencies(8), plain, rtol=1e-6)
    linear = lm.Rope(1e4, "linear", 4.0).frequencies(8)
    np.testing.assert_allclose(linear, plain / 4, rtol=1e-6)
    # Turns in the original 2π · 30 tokens: 30, 3, 0.3 and 0.03. Four and more keep
    # their frequency, one and fewer are divided, and three is two thirds between.
    scaled = lm.Rope(1e4, "llama3", 8.0, 1.0, 4.0, 2 * np.pi * 30).frequencies(8)
    mixed = 2 / 3 * 0.1 + 1 / 3 * 0.1 / 8
    wanted = [1.0, mixed, 0.01 / 8, 0.001 / 8]
    np.testing.assert_allclose(scaled, wanted, rtol=1e-6)


def test_the_band_of_yarn_by_hand():
    plain = np.array([1.0, 0.1, 0.01, 0.001])
    # Of 4 pairs k turns 2π · 10^(3 - k) / 2π times in the original 2π · 1000 tokens.
    rope = lm.Rope(1e4, "yarn", 4.0, original_length=2 * np.pi * 1000, beta_fast=1000)
    share = np.array([1.0, 2 / 3, 1 / 3, 0.0])  # which is kept, from 1000 turns to 1
    wanted = share * plain + (1 - share) * plain / 4
    np.testing.assert_allclose(rope.frequencies(8), wanted, rtol=1e-6)
    assert rope.amplitude == pytest.approx(0.1 * np.log(4) + 1)
