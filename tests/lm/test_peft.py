"""Folders of adapters: against the peft library both ways, and faulty ones."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from aajax import lm
from aajax.lm.checkpoints import peft_folder, weights
from aajax.lm.model import lora

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
FAMILIES = {
    "llama": {"mlp_bias": True},
    "gemma3_text": {"query_pre_attn_scalar": 6, "sliding_window": 4},
}
LENGTH = 7
UP = "base_model.model.model.layers.1.mlp.up_proj.lora_"
# peft asks transformers for what transformers calls by another name now.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")


def fill(model, seed, adapters=False):
    """Random numbers for all parameters, or those of adapters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not adapters or "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def base(request, tmp_path_factory):
    """A folder of transformers, and the same decoder here."""
    folder = tmp_path_factory.mktemp("base")
    hf = transformers.AutoConfig.for_model(
        request.param, **{**SMALL, **{**FAMILIES, **OTHERS}[request.param]}
    )
    fill(transformers.AutoModelForCausalLM.from_config(hf), 0).save_pretrained(folder)
    config = weights.read_config(folder)
    return folder, config, weights.load_params(folder, config)


@pytest.fixture(scope="module")
def llama():
    return lm.DecoderConfig(
        family="llama",
        vocab_size=SMALL["vocab_size"],
        hidden_size=SMALL["hidden_size"],
        intermediate_size=SMALL["intermediate_size"],
        num_layers=SMALL["num_hidden_layers"],
        num_heads=SMALL["num_attention_heads"],
        num_kv_heads=SMALL["num_key_value_heads"],
        head_dim=SMALL["head_dim"],
    )


def tokens():
    shape = 2, LENGTH
    return np.random.default_rng(0).integers(0, SMALL["vocab_size"], shape)


def torch_model(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()


def torch_logits(model):
    with torch.no_grad():
        return model(torch.from_numpy(tokens())).logits.numpy()


@functools.partial(jax.jit, static_argnums=0)
def score(config, params, adapters=None, adapter_id=None):
    positions = jnp.broadcast_to(jnp.arange(LENGTH), (2, LENGTH))
    ids = jnp.asarray(tokens(), jnp.int32)
    hidden, _ = lm.forward(config, params, ids, positions, None, adapters, adapter_id)
    return lm.logits(config, params, hidden)


merge = jax.jit(lora.merge, static_argnums=(0, 3))


def numbers(config, one, seed=0):
    """An adapter with random numbers."""
    shapes = jax.eval_shape(
        functools.partial(lora.init_adapters, config, one), jax.random.key(0)
    )
    rng = np.random.default_rng(seed)
    new = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape), shapes.weights)
    new = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), new)
    return lm.Adapters(new, jnp.asarray([one.scale], jnp.float32))


MADE_BY_PEFT = {
    "some": (
        {"r": 3, "lora_alpha": 7, "target_modules": ["q_proj", "down_proj"]},
        lora.LoraConfig(3, 7.0, ("query", "down")),
    ),
    "all, of rslora": (
        {"r": 4, "lora_alpha": 3, "target_modules": "all-linear", "use_rslora": True},
        lora.LoraConfig(4, 6.0),
    ),
    "by an expression, with patterns": (
        {
            "r": 2,
            "lora_alpha": 3,
            "target_modules": r".*\.(0\.mlp\.(up|down)|1\.self_attn\.[qkv])_proj",
            "exclude_modules": ["self_attn.k_proj"],
            "rank_pattern": {"up_proj": 4, r"layers\.1\..*": 3, "v_proj": 1},
            "alpha_pattern": {r"^model\.layers\.1\..*\.q_proj": 12, "up_proj": 5},
        },
        # Of the largest rank, 4, and scale, of queries: 12 / 3.
        lora.LoraConfig(4, 16.0, ("query", "value", "up", "down")),
    ),
    "of rslora, with patterns": (
        {
            "r": 4,
            "lora_alpha": 3,
            "target_modules": ["gate_proj", "o_proj"],
            "rank_pattern": {"o_proj": 1},
            "use_rslora": True,
        },
        lora.LoraConfig(4, 12.0, ("output", "gate")),
    ),
    "of one layer": (
        {"r": 2, "lora_alpha": 5, "target_modules": ["k_proj", "layers.1.mlp.up_proj"],
         "layers_to_transform": [1]},
        lora.LoraConfig(2, 5.0, ("key", "up")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MADE_BY_PEFT)
def test_adapters_of_peft_are_the_same_here(base, kind, tmp_path):
    folder, config, params = base
    options, expected = MADE_BY_PEFT[kind]
    made = peft.LoraConfig(task_type="CAUSAL_LM", **options)
    model = fill(peft.get_peft_model(torch_model(folder), made), 1, adapters=True)
    model.save_pretrained(tmp_path)
    found, adapters = peft_folder.load_peft(tmp_path, config)
    assert found == expected
    np.testing.assert_allclose(adapters.scale, [expected.scale], rtol=1e-6)
    wanted = torch_logits(model)
    actual = score(config, merge(config, params, adapters, 0))
    assert np.max(np.abs(wanted - score(config, params))) > 0.1
    assert np.max(np.abs(actual - wanted)) < 1e-4


OTHERS = {
    "phi3": {},  # query, key and value are one there, and gate and up
    "qwen3_moe": {"num_experts": 3, "num_experts_per_tok": 2},
    "qwen3_5_text": {  # attention in the last of four layers
        "num_hidden_layers": 4,
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 4,
        "linear_value_head_dim": 6,
        "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 1.0},
    },
    "gemma4_text": {  # keys in the first two of four layers, a value in the first
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
        "attention_k_eq_v": True,
        "global_head_dim": 8,
        "num_global_key_value_heads": 1,
        "hidden_size_per_layer_input": 4,
        "vocab_size_per_layer_input": SMALL["vocab_size"],
    },
}


ROUND = [
    *[(family, None) for family in {**FAMILIES, **OTHERS}],
    ("phi3", ("query", "value", "up", "down")),
    ("gemma4_text", ("value", "down")),
]


@pytest.mark.parametrize(("base", "names"), ROUND, indirect=["base"])
def test_adapters_of_here_are_the_same_in_peft(base, names, tmp_path):
    folder, config, params = base
    one = lora.LoraConfig(3, 7.5, names or lora.targets_of(config))
    adapters = numbers(config, one)
    peft_folder.save_peft(tmp_path, config, one, adapters, str(folder))
    model = peft.PeftModel.from_pretrained(torch_model(folder), tmp_path).eval()
    wanted = torch_logits(model)
    actual = score(config, params, adapters, jnp.zeros(2, jnp.int32))
    assert np.max(np.abs(wanted - score(config, params))) > 0.1
    assert np.max(np.abs(actual - wanted)) < 1e-4
    # peft writes tensors of the same names.
    model.save_pretrained(tmp_path / "again")
    again = load_file(tmp_path / "again" / peft_folder.WEIGHTS)
    ours = load_file(tmp_path / peft_folder.WEIGHTS)
    assert set(ours) == set(again)
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor, again[name])
    found, same = peft_folder.load_peft(tmp_path, config)
    assert found == one
    assert_equal(same, adapters)


@pytest.mark.parametrize("base", ["phi3"], indirect=True)
def test_adapters_of_peft_for_several_layers_in_one(base, tmp_path):
    folder, config, params = base
    made = peft.LoraConfig(
        task_type="CAUSAL_LM", r=6, lora_alpha=5, target_modules="all-linear"
    )
    model = fill(peft.get_peft_model(torch_model(folder), made), 1, adapters=True)
    model.save_pretrained(tmp_path)
    found, adapters = peft_folder.load_peft(tmp_path, config)
    assert found == lora.LoraConfig(6, 5.0, lora.targets_of(config))
    actual = score(config, merge(config, params, adapters, 0))
    assert np.max(np.abs(actual - torch_logits(model))) < 1e-4


@pytest.mark.parametrize("base", ["phi3"], indirect=True)
def test_an_adapter_of_nothing_is_refused(base, tmp_path):
    _, config, _ = base
    one = lora.LoraConfig(3, 7.5, ("query", "value"))
    some = numbers(config, one)
    nothing = some._replace(weights=jax.tree.map(jnp.zeros_like, some.weights))
    peft_folder.save_peft(tmp_path, config, one, nothing, "base")
    with pytest.raises(ValueError, match="adapter_model.safetensors is all zero; an"):
        peft_folder.load_peft(tmp_path, config)


def test_experts_have_no_adapters(llama):
    config = dataclasses.replace(llama, num_experts=2, experts_per_token=1)
    with pytest.raises(
        ValueError, match="targets has 'gate': with experts, only query"
    ):
        lora.init_adapters(config, lora.LoraConfig(), jax.random.key(0))


def test_a_linear_layer_that_no_layer_has_takes_no_adapter(llama):
    config = dataclasses.replace(llama, keys_as_values=True)
    with pytest.raises(ValueError, match="^targets is .'value'.: linear layers that"):
        lora.init_adapters(
            config, lora.LoraConfig(targets=("value",)), jax.random.key(0)
        )


@pytest.fixture
def saved(llama, tmp_path):
    """A folder of an adapter of the llama, what it was saved from."""
    one = lora.LoraConfig(rank=2, alpha=3.0, targets=("up", "value"))
    adapters = numbers(llama, one)
    peft_folder.save_peft(tmp_path, llama, one, adapters, "base/name")
    return tmp_path, one, adapters


def rewrite(folder, options=None, tensors=None):
    """Changes the folder; what is None is taken out."""
    path = folder / peft_folder.CONFIG
    changed = {**json.loads(path.read_text()), **(options or {})}
    path.write_text(json.dumps({k: v for k, v in changed.items() if v is not ...}))
    path = folder / peft_folder.WEIGHTS
    changed = {**load_file(path), **(tensors or {})}
    save_file({k: v for k, v in changed.items() if v is not None}, path)


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_what_is_saved_says_what_servers_ask_for(saved):
    folder, *_ = saved
    options = json.loads((folder / peft_folder.CONFIG).read_text())
    asked = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base/name",
        "r": 2,
        "lora_alpha": 3,
        "target_modules": ["up_proj", "v_proj"],
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
    }
    assert {name: options[name] for name in asked} == asked
    assert isinstance(options["lora_alpha"], int)
    shapes = {k: v.shape for k, v in load_file(folder / peft_folder.WEIGHTS).items()}
    layer = "base_model.model.model.layers.{}.{}_proj.lora_{}.weight".format
    assert shapes == {
        layer(i, name, part): shape
        for i in range(2)
        for name, part, shape in [
            ("self_attn.v", "A", (2, 16)),
            ("self_attn.v", "B", (12, 2)),
            ("mlp.up", "A", (2, 16)),
            ("mlp.up", "B", (20, 2)),
        ]
    }
    assert sorted(path.name for path in folder.iterdir()) == [
        peft_folder.CONFIG,
        peft_folder.WEIGHTS,
    ]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_saved_adapters_are_read_back(saved, llama, dtype):
    folder, one, adapters = saved
    cast = jax.tree.map(
        lambda x: jnp.asarray(np.asarray(x).astype(dtype)), adapters.weights
    )
    # Over what was there.
    peft_folder.save_peft(folder, llama, one, adapters._replace(weights=cast), "name")
    found, same = peft_folder.load_peft(folder, llama, dtype)
    assert set(found.targets) == set(one.targets)
    assert (found.rank, found.alpha) == (one.rank, one.alpha)
    assert_equal(same.weights, cast)
    assert_equal(same.scale, adapters.scale)
    _, wide = peft_folder.load_peft(folder, llama)
    for leaf, narrow in zip(
        jax.tree.leaves(wide.weights), jax.tree.leaves(cast), strict=True
    ):
        assert leaf.dtype == jnp.float32
        np.testing.assert_array_equal(leaf, np.asarray(narrow).astype(np.float32))


def test_a_save_that_is_cut_off_leaves_no_mixture(saved, llama, monkeypatch):
    folder, one, adapters = saved

    def fail(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space"):
        peft_folder.save_peft(folder, llama, one, adapters, "name")
    # Without its config, old weights are not taken for the new ones.
    assert [path.name for path in folder.iterdir()] == [peft_folder.WEIGHTS]


@pytest.mark.parametrize("targets", ["all-linear", r"model\.language_model\..*"])
def test_the_text_part_of_a_gemma_that_sees(llama, targets, tmp_path):
    config = lm.DecoderConfig(**{**vars(llama), "family": "gemma3_text"})
    one = lora.LoraConfig(rank=2, alpha=3.0)
    adapters = numbers(config, one)
    peft_folder.save_peft(tmp_path, config, one, adapters, "name")
    path = tmp_path / peft_folder.WEIGHTS
    tensors = {
        name.replace(".model.layers", ".model.language_model.layers"): x
        for name, x in load_file(path).items()
    }
    assert all("language_model" in name for name in tensors)
    eye = "base_model.model.model.vision_tower.layers.0.fc1.lora_A.weight"
    save_file({**tensors, eye: np.zeros((2, 3), np.float32)}, path)
    rewrite(tmp_path, {"target_modules": targets})
    found, same = peft_folder.load_peft(tmp_path, config)
    assert found == one
    assert_equal(same.weights, adapters.weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3': one of LORA"),
        ({"peft_type": ...}, "peft_type is missing: one of LORA"),
        ({"bias": "all"}, "bias is 'all': one of none"),
        ({"use_dora": True}, "use_dora is True: only"),
        ({"lora_bias": True}, "lora_bias is True: only"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is ['lm_head']: only"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices is [1]: only"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa': an adapter"),
        ({"layers_pattern": "blocks"}, "layers_pattern is 'blocks': layers"),
        ({"target_modules": ["fc1"]}, "target_modules is ['fc1']: names of linear"),
        ({"target_modules": None}, "target_modules is None: names of linear"),
        ({"target_modules": "(up"}, "target_modules has '(up': a regular expression"),
        ({"target_modules": [1]}, "target_modules has 1: a text"),
        ({"target_modules": 3}, "target_modules is 3: a text, or a tuple (in JSON, a"),
        ({"layers_to_transform": "x"}, "layers_to_transform is 'x': a whole number of"),
        ({"layers_to_transform": [-1]}, "layers_to_transform has -1: at least 0"),
        ({"r": 0}, "r is 0: at least 1"),
        ({"r": 1e12}, "r is 1000000000000: at most 2147483647"),
        ({"rank_pattern": {"up_proj": "4"}}, "rank_pattern.up_proj is '4': a whole n"),
        ({"alpha_pattern": [2]}, "alpha_pattern is [2]: an object"),
        ({"lora_alpha": "3"}, "lora_alpha is '3': a number above 0"),
        ({"lora_alpha": 0}, "lora_alpha is 0.0: a number above 0"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf: a number above 0"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes': true or false"),
    ],
)
def test_settings_that_are_not_known_are_refused(saved, llama, options, message):
    folder, *_ = saved
    rewrite(folder, options)
    with pytest.raises(ValueError) as caught:
        peft_folder.load_peft(folder, llama)
    where = f"file is {folder / 'adapter_config.json'}: "
    assert str(caught.value).startswith(where + message)
    assert "\n" not in str(caught.value)


HEAD = "base_model.model.lm_head.lora_A.weight"
ZEROS = np.zeros((3, 16), np.float32)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {f"{UP}A.weight": None},
            f"1 missing: {UP}A.weight",
        ),
        (
            {f"{UP}A.weight": ZEROS},
            f"1 misshapen: {UP}A.weight [3, 16] for [2, 16]",
        ),
        ({HEAD: ZEROS}, f"1 not expected: {HEAD}"),
        (
            {f"{UP}magnitude_vector": ZEROS, HEAD: ZEROS, f"{UP}B.weight": None},
            f"1 missing: {UP}B.weight; 2 not expected: ",
        ),
        (
            {"model.layers.1.mlp.up_proj.lora_A.weight": ZEROS[:2]},
            "1 not expected: model.layers.1.mlp.up_proj.lora_A.weight",
        ),
        (
            {f"{UP}A.weight".replace("base_model.", "", 1): ZEROS},
            "1 not expected: model.model.layers.1.mlp.up_proj.lora_A.weight",
        ),
        (
            {f"{UP}A.weight": np.zeros((2, 16), np.int8)},
            f"{UP}A.weight is I8, one of F32, F16, BF16 is needed",
        ),
        (
            {f"{UP}A.weight": np.full((2, 16), np.nan, np.float16)},
            f"{UP}A.weight in adapter_model.safetensors has a NaN or an infinity; "
            "finite numbers are needed",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, llama, tensors, message):
    folder, *_ = saved
    rewrite(folder, tensors=tensors)
    with pytest.raises(ValueError) as caught:
        peft_folder.load_peft(folder, llama)
    assert str(caught.value).startswith(f"folder is '{folder}': ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensors_with_two_names_of_the_text_part_are_refused(llama, tmp_path):
    config = lm.DecoderConfig(**{**vars(llama), "family": "gemma3_text"})
    one = lora.LoraConfig(rank=2, alpha=3.0, targets=("up",))
    peft_folder.save_peft(tmp_path, config, one, numbers(config, one), "name")
    twice = f"{UP}A.weight".replace(".model.layers", ".model.language_model.layers")
    rewrite(tmp_path, tensors={twice: ZEROS[:2]})
    with pytest.raises(ValueError, match=f"{UP}A.weight must be there once"):
        peft_folder.load_peft(tmp_path, config)


def test_folders_that_cannot_be_read_are_refused(saved, llama, tmp_path):
    folder, *_ = saved

    def refused(message, where=f"folder is '{folder}'"):
        with pytest.raises(ValueError) as caught:
            peft_folder.load_peft(folder, llama)
        assert str(caught.value).startswith(f"{where}: {message}")

    (folder / peft_folder.WEIGHTS).write_bytes(b"nothing")
    refused("adapter_model.safetensors cannot be read (")
    (folder / peft_folder.WEIGHTS).unlink()
    refused("an adapter_model.safetensors in it is needed")
    (folder / peft_folder.CONFIG).write_text("[]")
    file = f"file is {folder / 'adapter_config.json'}"
    refused("an object is needed, not []", file)
    (folder / peft_folder.CONFIG).write_text("{")
    refused("JSON is needed, and at column 2 it is none", file)
    (folder / peft_folder.CONFIG).write_bytes(b"\xff")
    refused("UTF-8 text is needed, and byte 0 is none", file)
    (folder / peft_folder.CONFIG).unlink()
    refused("adapter_config.json is needed in it (No such file")


def test_adapters_that_are_not_as_said_are_not_saved(saved, llama):
    folder, one, adapters = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    half = lm.Adapters(adapters.weights, adapters.scale / 2)
    wider = lora.LoraConfig(rank=4, alpha=6.0, targets=one.targets)
    more = lora.LoraConfig(rank=2, alpha=3.0, targets=("up", "value", "key"))
    larger = lm.DecoderConfig(**{**vars(llama), "intermediate_size": 24})
    for message, config, said, given in [
        ("adapters has 2 adapters: ex", llama, one, lora.stack([adapters, adapters])),
        ("adapters has scale 0.75: alpha / rank of lora, 1.5", llama, one, half),
        ("adapters has rank 2 in value: that of lora, 4", llama, wider, adapters),
        ("adapters has targets value, up: those of lora", llama, more, adapters),
        ("adapters is a tree with up/b [2, 1, 2, 20]: [2, 1", larger, one, adapters),
    ]:
        with pytest.raises(ValueError) as caught:
            peft_folder.save_peft(folder, config, said, given, "name")
        assert str(caught.value).startswith(message)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
