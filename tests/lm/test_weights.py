"""Checkpoint folders, written by hand name by name, and what is wrong with some."""

import json
import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aajax import lm
from aajax.lm.checkpoints import weights

V, D, F, H, K, E, L = 11, 6, 10, 4, 2, 2, 2  # sizes; E of a head
LLAMA = {
    "model_type": "llama",
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": F,
    "num_hidden_layers": L,
    "num_attention_heads": H,
    "num_key_value_heads": K,
    "head_dim": E,
}
GEMMA = {**LLAMA, "model_type": "gemma3_text", "sliding_window": 4}
ATTENTION = {"q": (H * E, D), "k": (K * E, D), "v": (K * E, D), "o": (D, H * E)}
MLP = {"gate": (F, D), "up": (F, D), "down": (D, F)}
DTYPES = [np.float32, np.float16, jnp.bfloat16]


def llama(head=True):
    """Names and shapes of a folder's tensors."""
    shapes = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
    if head:
        shapes["lm_head.weight"] = (V, D)
    for layer in range(L):
        prefix = f"model.layers.{layer}."
        for name, shape in ATTENTION.items():
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = shape
        for name, shape in MLP.items():
            shapes[f"{prefix}mlp.{name}_proj.weight"] = shape
        for name in ("input", "post_attention"):
            shapes[f"{prefix}{name}_layernorm.weight"] = (D,)
    return shapes


def gemma():
    shapes = llama(head=False)
    for layer in range(L):
        prefix = f"model.layers.{layer}."
        for name in ("pre_feedforward", "post_feedforward"):
            shapes[f"{prefix}{name}_layernorm.weight"] = (D,)
        for name in ("q", "k"):
            shapes[f"{prefix}self_attn.{name}_norm.weight"] = (E,)
    return shapes


def numbers(shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=shape).astype(dtype) for k, shape in shapes.items()}


def write(folder, hf, *files):
    """config.json and tensors, with an index if they are in several files."""
    (folder / "config.json").write_text(json.dumps(hf))
    if len(files) == 1:
        save_file(files[0], folder / "model.safetensors")
        return
    where = {}
    for number, tensors in enumerate(files):
        save_file(tensors, folder / f"part-{number}.safetensors")
        where |= dict.fromkeys(tensors, f"part-{number}.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))


def split(tensors):
    names = sorted(tensors)
    return [{k: tensors[k] for k in names[i::3]} for i in range(3)]


def read_files(folder):
    tensors = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    return tensors


def assert_same(left, right):
    """Trees equal in structure, dtypes and every bit."""

    def same(a, b):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)

    jax.tree.map(same, left, right)


def filled(config, dtype=np.float32):
    """Parameters of a decoder, on the host so that nothing is compiled for them."""
    rng = np.random.default_rng(0)
    like = jax.eval_shape(lambda: lm.init_params(config, jax.random.key(0)))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(dtype), like)


def fails(function, *args, **options):
    """The message of a ValueError, one line."""
    with pytest.raises(ValueError) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_parameter_is_where_it_belongs(tmp_path, dtype):
    tensors = numbers(llama(), dtype)
    write(tmp_path, LLAMA, *split(tensors))
    config = weights.read_config(tmp_path)
    params = weights.load_params(tmp_path)
    made = filled(config, dtype)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, made)
    at = tensors["model.layers.1.self_attn.k_proj.weight"]
    key = params["layers"]["attention"]["key"]["kernel"]
    np.testing.assert_array_equal(key[1], at.T)
    at = tensors["model.layers.0.post_attention_layernorm.weight"]
    np.testing.assert_array_equal(params["layers"]["mlp_norm"]["scale"][0], at)
    np.testing.assert_array_equal(params["head"], tensors["lm_head.weight"])
    folder = tmp_path / "again"
    weights.save_params(folder, config, params)
    assert_same(read_files(folder), tensors)
    assert json.loads((folder / "config.json").read_text())["dtype"] == dtype.__name__


def test_dtypes_are_mixed_and_changed(tmp_path):
    tensors = numbers(llama())
    tensors["model.norm.weight"] = tensors["model.norm.weight"].astype(np.float16)
    for layer, dtype in enumerate([np.float16, jnp.bfloat16]):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        tensors[name] = tensors[name].astype(dtype)
    write(tmp_path, LLAMA, *split(tensors))
    params = weights.load_params(tmp_path)
    assert params["norm"]["scale"].dtype == jnp.float16
    assert params["embedding"].dtype == jnp.float32
    up = params["layers"]["mlp"]["up"]["kernel"]
    assert up.dtype == jnp.float32
    for layer in range(L):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        np.testing.assert_array_equal(up[layer], tensors[name].T.astype(np.float32))
    narrow = weights.load_params(tmp_path, dtype=jnp.bfloat16)
    assert_same(narrow, jax.tree.map(lambda x: x.astype(jnp.bfloat16), params))


def test_tied_heads_are_left_out_if_they_are_the_embedding(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_ROWS", 4)  # of 11, so that some are left over
    hf = {**LLAMA, "tie_word_embeddings": True}
    tensors = numbers(llama(head=False))
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"].copy()}
    write(tmp_path, hf, {**tensors, **head})
    params = weights.load_params(tmp_path)
    assert "head" not in params
    weights.save_params(tmp_path, weights.read_config(tmp_path), params)
    assert_same(read_files(tmp_path), tensors)
    head["lm_head.weight"][-1, -1] += 1
    write(tmp_path, hf, {**tensors, **head})
    message = fails(weights.load_params, tmp_path)
    assert "lm_head.weight must be equal to model.embed_tokens.weight" in message


def test_frequencies_of_old_checkpoints_are_ignored(tmp_path):
    tensors = numbers(llama())
    old = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": (E,) for i in range(L)}
    write(tmp_path, LLAMA, {**tensors, **numbers(old)})
    weights.save_params(
        tmp_path, weights.read_config(tmp_path), weights.load_params(tmp_path)
    )
    assert_same(read_files(tmp_path), tensors)


@pytest.mark.parametrize("spelling", ["language_model.model.", "model.language_model."])
def test_gemma_with_images_gives_its_text_part(tmp_path, spelling):
    tensors = numbers(gemma())
    names = {k: spelling + k.removeprefix("model.") for k in tensors}
    prefix = "model." * spelling.startswith("model.")
    images = {
        f"{prefix}vision_tower.vision_model.head.weight": (3, 3),
        f"{prefix}multi_modal_projector.mm_soft_emb_norm.weight": (3,),
    }
    hf = {"model_type": "gemma3", "text_config": GEMMA, "vision_config": {}}
    write(tmp_path, hf, {**{names[k]: tensors[k] for k in names}, **numbers(images)})
    config, params = weights.read_config(tmp_path), weights.load_params(tmp_path)
    assert config == lm.config_from_hf(GEMMA)
    weights.save_params(tmp_path, config, params)
    assert_same(read_files(tmp_path), tensors)
    assert weights.read_config(tmp_path) == config


def test_gemma_4_with_images_gives_its_text_part(tmp_path):
    """Without towers, and without keys of layers that share those of others."""
    text = {
        **LLAMA, "model_type": "gemma4_text", "num_hidden_layers": 3, "head_dim": 8,
        "layer_types": ["full_attention"] * 3, "num_kv_shared_layers": 1,
        "global_head_dim": 8, "hidden_size_per_layer_input": 2,
        "use_bidirectional_attention": "vision", "tie_word_embeddings": True,
    }  # fmt: skip
    config = lm.config_from_hf(text)
    weights.save_params(tmp_path, config, filled(config, jnp.float32))
    tensors = read_files(tmp_path)
    of_keys = "model.layers.2.self_attn."
    assert not any(name.startswith(f"{of_keys}k_") for name in tensors)
    spelling = "model.language_model."
    stored = {spelling + k.removeprefix("model."): x for k, x in tensors.items()}
    others = {
        "model.vision_tower.patch_embedder.input_proj.weight": (3, 3),
        "model.audio_tower.output_proj.bias": (3,),
        "model.embed_vision.embedding_projection.weight": (3, 2),
        "model.embed_audio.embedding_projection.weight": (3, 2),
        **{f"{spelling}layers.2.self_attn.{x}_proj.weight": (8, 8) for x in "kv"},
        f"{spelling}layers.2.self_attn.k_norm.weight": (8,),
    }
    hf = {"model_type": "gemma4", "text_config": text, "vision_config": {}}
    write(tmp_path, hf, {**stored, **numbers(others)})
    assert weights.read_config(tmp_path) == config
    params = weights.load_params(tmp_path)
    weights.save_params(tmp_path, config, params)
    assert_same(read_files(tmp_path), tensors)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("qwen2", {}),
        ("qwen3", {"tie_word_embeddings": True}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("gemma3_text", {"sliding_window": 4}),
    ],
)
def test_what_is_written_is_read_as_it_was(tmp_path, family, changes):
    config = lm.config_from_hf({**LLAMA, "model_type": family, **changes})
    params = filled(config, jnp.bfloat16)
    params["norm"]["scale"] = params["norm"]["scale"].astype(jnp.float32)
    weights.save_params(tmp_path, config, params, max_shard_bytes=300)
    assert weights.read_config(tmp_path) == config
    assert_same(weights.load_params(tmp_path), params)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = sorted(tmp_path.glob("*.safetensors"))
    assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
    assert len(files) > 5
    total = 0
    for file in files:
        tensors = load_file(file)
        assert all(index["weight_map"][name] == file.name for name in tensors)
        size = sum(x.nbytes for x in tensors.values())
        assert size <= 300 or len(tensors) == 1
        total += size
    assert index["metadata"]["total_size"] == total


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), "1 missing: model.norm.weight"),
        (
            lambda t: [t.pop(k) for k in list(t) if ".0." in k],
            "9 missing: model.layers.0.",
        ),
        (
            lambda t: t.update({"model.extra": t["model.norm.weight"]}),
            "1 not expected: model.extra",
        ),
        (
            lambda t: t.update({"lm_head.weight": np.zeros((V + 1, D), np.float32)}),
            f"1 misshapen: lm_head.weight [{V + 1}, {D}] for [{V}, {D}]",
        ),
        (
            lambda t: t.update({"model.norm.weight": np.zeros(D, np.int8)}),
            "1 not of F32, F16, BF16: model.norm.weight I8",
        ),
    ],
)
def test_tensors_of_another_decoder(tmp_path, change, message):
    tensors = numbers(llama())
    change(tensors)
    write(tmp_path, LLAMA, tensors)
    found = fails(weights.load_params, tmp_path)
    assert message in found
    assert str(tmp_path) in found
    assert found.count("model.layers") <= 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, dtype, value, monkeypatch):
    monkeypatch.setattr(weights, "_BLOCK", 7)
    shapes = llama()
    for name, place in [
        ("model.layers.1.mlp.down_proj.weight", -1),
        ("model.embed_tokens.weight", 30),
        ("model.norm.weight", 0),
    ]:
        tensors = numbers(shapes, dtype)
        tensors[name].flat[place] = value
        write(tmp_path, LLAMA, *split(tensors))
        number = sorted(tensors).index(name) % 3
        assert fails(weights.load_params, tmp_path) == (
            f"folder is '{tmp_path}': {name} in part-{number}.safetensors has a NaN or "
            "an infinity; finite numbers are needed"
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_and_smallest_numbers_are_finite(dtype):
    info = jnp.finfo(dtype)
    ends = [info.max, info.min, info.tiny, info.smallest_subnormal, 0, -0.0]
    array = np.tile(np.array(ends).astype(dtype), (300, 1000))
    assert weights.all_finite(array) and weights.all_finite(array[:0])
    for value in (np.nan, np.inf, -np.inf):
        array[299, -1] = value
        assert not weights.all_finite(array)
        assert not weights.all_finite(array[299, -1])


def test_folders_that_cannot_be_read(tmp_path):
    assert "config.json is needed in it" in fails(weights.read_config, tmp_path)
    file = tmp_path / "config.json"
    file.write_text('{"model_type": ')
    where = f"file is {file}: "
    found = fails(weights.read_config, tmp_path)
    assert found.startswith(f"{where}JSON is needed, and at column 16 it is none")
    file.write_text("[1]")
    found = fails(weights.read_config, tmp_path)
    assert found == f"{where}an object is needed, not [1]"
    file.write_text('{"model_type": "bert"}')
    found = fails(weights.read_config, tmp_path)
    assert found.startswith(f"{where}model_type is 'bert': one of qwen2, ")
    config = lm.config_from_hf(LLAMA)
    found = fails(weights.load_params, tmp_path, config)
    assert "model.safetensors in it is needed" in found
    write(tmp_path, LLAMA, *split(numbers(llama())))
    os.truncate(tmp_path / "part-1.safetensors", 100)
    found = fails(weights.load_params, tmp_path)
    assert "part-1.safetensors cannot be read" in found
    (tmp_path / "part-1.safetensors").unlink()
    found = fails(weights.load_params, tmp_path)
    assert "part-1.safetensors in it is needed" in found
    index = tmp_path / "model.safetensors.index.json"
    for content, message in [
        ({}, "weight_map is missing: an object is needed"),
        ({"weight_map": [1]}, "weight_map is [1]: an object is needed"),
        ({"weight_map": {"a": 1}}, "weight_map.a is 1: a text is needed"),
        (
            {"weight_map": {"a": "../b"}},
            "weight_map.a is '../b': the name of a file",
        ),
    ]:
        index.write_text(json.dumps(content))
        found = fails(weights.load_params, tmp_path)
        assert found.startswith(f"file is {index}: {message}")


@pytest.mark.parametrize(
    ("key", "said", "held"),
    [
        ("num_hidden_layers", 100_000, L),
        ("vocab_size", 2**31 - 1, V),
        ("hidden_size", 2**30, D),
        ("intermediate_size", 2**30, F),
        ("num_attention_heads", 2**20, H * E),
    ],
)
def test_sizes_that_no_tensor_has_are_refused_unread(tmp_path, key, said, held):
    write(tmp_path, LLAMA, numbers(llama()))
    assert weights.read_config(tmp_path).num_layers == L
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, key: said}))
    found = fails(weights.read_config, tmp_path)
    assert found.startswith(f"file is {tmp_path / 'config.json'}: {key}")
    assert f"{held} is needed, as its tensors have" in found


def test_params_that_cannot_be_written(tmp_path):
    config = lm.config_from_hf(LLAMA)
    params = filled(config)
    save = weights.save_params
    found = fails(save, tmp_path, config, {**params, "more": jnp.zeros(3)})
    assert "1 not expected: more" in found
    found = fails(save, tmp_path, config, {**params, "norm": {}})
    assert "1 missing: norm/scale" in found
    found = fails(save, tmp_path, config, {**params, "head": jnp.zeros((V, 3))})
    assert f"1 misshapen: head [{V}, 3] for [{V}, {D}]" in found
    whole = params["head"].astype(jnp.int32)
    found = fails(save, tmp_path, config, {**params, "head": whole})
    assert "1 not of float32, float16, bfloat16: head int32" in found
    found = fails(save, tmp_path, config, params, max_shard_bytes=0)
    assert "max_shard_bytes is 0" in found
    assert list(tmp_path.iterdir()) == []


class TestWriting:
    """What is in a folder while and after it is written over."""

    def start(self, folder):
        (folder / "tokenizer.json").write_text("{}")
        config = lm.config_from_hf(LLAMA)
        params = filled(config)
        weights.save_params(folder, config, params, max_shard_bytes=300)
        return config, params

    def names(self, folder):
        return {file.name for file in folder.iterdir()}

    def test_old_weights_go_and_other_files_stay(self, tmp_path):
        config, params = self.start(tmp_path)
        weights.save_params(tmp_path, config, params)
        files = {"config.json", "tokenizer.json", "model.safetensors"}
        assert self.names(tmp_path) == files
        assert_same(weights.load_params(tmp_path), params)

    def test_what_cannot_be_written_leaves_all_as_it_was(self, tmp_path, monkeypatch):
        config, params = self.start(tmp_path)
        before, written = self.names(tmp_path), []

        def full(arrays, file, **options):
            if written:
                raise weights.SafetensorError("no space left")
            written.append(save_file(arrays, file, **options))

        monkeypatch.setattr(weights, "save_file", full)
        other = jax.tree.map(lambda x: x + 1, params)
        with pytest.raises(OSError, match="no space left"):
            weights.save_params(tmp_path, config, other, max_shard_bytes=400)
        assert written
        assert self.names(tmp_path) == before
        assert_same(weights.load_params(tmp_path), params)

    def test_half_a_folder_has_no_config(self, tmp_path, monkeypatch):
        config, params = self.start(tmp_path)
        replaced = []

        def replace(source, target):
            if len(replaced) == 2:
                raise OSError("gone")
            replaced.append(os.rename(source, target))

        monkeypatch.setattr(weights.os, "replace", replace)
        with pytest.raises(OSError, match="gone"):
            weights.save_params(tmp_path, config, params, max_shard_bytes=300)
        assert "config.json" in fails(weights.load_params, tmp_path)


SHARDED = """
import contextlib, json, sys, types
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_platforms", "cpu")
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from safetensors import safe_open
from aajax.lm.checkpoints import weights

asked = {}

class Tensor:
    def __init__(self, name, tensor):
        self.name, self.tensor = name, tensor
        self.get_shape, self.get_dtype = tensor.get_shape, tensor.get_dtype
    def __getitem__(self, index):
        part = self.tensor[index]
        asked.setdefault(self.name, []).append(part.size)
        return part

@contextlib.contextmanager
def opened(*args, **options):
    with safe_open(*args, **options) as file:
        recorded = types.SimpleNamespace(keys=file.keys)
        recorded.get_slice = lambda name: Tensor(name, file.get_slice(name))
        yield recorded

folder = sys.argv[1]
plain = jax.device_get(weights.load_params(folder))
weights.safe_open = opened
mesh = jax.make_mesh((4, 2), ("fsdp", "tp"), axis_types=(AxisType.Auto,) * 2)
def place(path, x):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    spec = P("fsdp", "tp") if name == "embedding" else P()
    if name.endswith("kernel"):
        spec = P(None, "tp", None) if "output" in name else P(None, "fsdp", "tp")
    if "down" in name:
        spec = P("tp", None, "fsdp")
    return NamedSharding(mesh, spec)
shardings = jax.tree_util.tree_map_with_path(place, plain)
params = weights.load_params(folder, shardings=shardings)
same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), plain, params)
placed = jax.tree.map(lambda a, s: a.sharding == s, params, shardings)
print(json.dumps([asked, all(jax.tree.leaves([same, placed]))]))
"""


def test_devices_read_their_part_only(tmp_path):
    """On a mesh of 4 × 2 devices: what is asked of each tensor, and how often."""
    config = lm.config_from_hf(
        {**LLAMA, "vocab_size": 16, "hidden_size": 8, "intermediate_size": 12}
    )
    params = filled(config)
    weights.save_params(tmp_path, config, params, max_shard_bytes=400)
    run = subprocess.run(
        [sys.executable, "-c", SHARDED, str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    asked, same = json.loads(run.stdout)
    assert same
    sizes = {name: tensor.size for name, tensor in read_files(tmp_path).items()}
    assert asked.keys() == sizes.keys()
    for name, size in sizes.items():
        if "_proj" not in name and "embed" not in name:
            assert asked[name] == [size]  # replicated: read once
        elif "o_proj" in name:
            assert asked[name] == [size // 2] * 2  # four devices have each half
        elif "down" in name:
            assert asked[name] == [size // 4] * 4  # a device pair has each layer
        else:
            assert asked[name] == [size // 8] * 8
