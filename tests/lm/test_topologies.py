"""Names of accelerators, and what is said of compilers that are not there."""

import importlib.metadata
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.errors import InputError
from aajax.lm.mesh import sharding
from aajax.lm.planning import compile as compiling
from aajax.lm.planning import topologies

# Chips in all, chips of a machine, and the layout by which the compiler knows them.
NAMES = {
    "v5e-1": (1, 1, "v5e:1x1"),
    "v5e-8": (8, 8, "v5e:2x4"),
    "v5e-16": (16, 4, "v5e:4x4"),
    "v5e-256": (256, 4, "v5e:16x16"),
    "v5p-8": (4, 4, "v5p:2x2x1"),
    "v5p-32": (16, 4, "v5p:2x2x4"),
    "v6e-16": (16, 4, "v6e:4x4"),
    "h100": (1, 1, "1x1x1"),
    "h100x8": (8, 8, "1x1x8"),
    "h200x16": (16, 8, "1x2x8"),
    "A100x4": (4, 4, "1x1x4"),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_names_of_topologies(name, expected):
    found = topologies.find_topology(name)
    assert (found.num_devices, found.per_host, found.layout) == expected


def test_layouts_have_as_many_devices_as_they_are_said_to_have():
    for name, topology in topologies.all_topologies().items():
        sizes = topology.layout.rpartition(":")[2].split("x")
        assert np.prod([int(size) for size in sizes]) == topology.num_devices, name
        assert topology.num_devices % topology.per_host == 0, name


@pytest.mark.parametrize("name", ["v5e-3", "v4-8", "", None, "h100x3"])
def test_an_unknown_topology_names_those_that_there_are(name):
    with pytest.raises(InputError) as error:
        topologies.find_topology(name)
    message = str(error.value)
    assert message.startswith(f"topology is {name!r}: one of v5e-1|4|8|16|32|64|")
    assert "h200, h200x2|4|8|16|32|64 is needed" in message and "\n" not in message


def versions(monkeypatch, **installed):
    def version(package):
        name = package.replace("-", "_")
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(package)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    wanted = ["libtpu==0.0.42.*; extra == 'tpu'", "jaxlib<=0.10.2"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda package: wanted)


GPU = {"jax_cuda12_plugin": jax.__version__, "jax_cuda12_pjrt": jax.__version__}


@pytest.mark.parametrize(
    ("platform", "installed", "message"),
    [
        ("tpu", {}, "libtpu is not installed: pip install 'aajax[tpu-compiler]'"),
        ("tpu", {"libtpu": "0.0.4"}, "libtpu is 0.0.4: 0.0.42, which jax "),
        ("tpu", {"libtpu": "0.0.421"}, "libtpu is 0.0.421: 0.0.42, which jax "),
        ("cuda", {}, "jax-cuda12-plugin is not installed: pip install 'aajax[gpu-com"),
        ("cuda", GPU, "nvidia-cuda-nvcc-cu12 is not installed: pip install 'aajax[g"),
        (
            "cuda",
            GPU | {"jax_cuda12_pjrt": "0.1.0"},
            f"jax-cuda12-pjrt is 0.1.0: {jax.__version__}, which jax {jax.__version__}",
        ),
    ],
)
def test_a_compiler_that_is_missing_or_of_another_version(
    monkeypatch, platform, installed, message
):
    versions(monkeypatch, **installed)
    with pytest.raises(InputError) as error:
        topologies.check_compiler(platform)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_compilers_of_the_right_version(monkeypatch):
    for version in ("0.0.42", "0.0.42.1"):
        versions(monkeypatch, libtpu=version)
        topologies.check_compiler("tpu")
    libraries = {"nvidia_cuda_nvcc_cu12": "12.9", "nvidia_cudnn_cu12": "9.9"}
    versions(monkeypatch, **GPU, **libraries)
    topologies.check_compiler("cuda")


def slice_of_tpus(width, height):
    """Devices by rows of chips; machines have 2 x 2 of them."""
    return [
        SimpleNamespace(
            id=y * width + x, process_index=y // 2 * (width // 2) + x // 2, at=(x, y)
        )
        for y in range(height)
        for x in range(width)
    ]


def rows_by_process(blocks):
    rows = blocks.reshape(-1, blocks.shape[-1])
    return [{one.process_index for one in row} for row in rows]


def as_mesh(devices, *shape):
    found = np.empty(len(devices), object)
    found[:] = devices
    return found.reshape(shape)


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 1, 4), (2, 2, 4)])
def test_tensor_stays_inside_a_process(shape):
    """Four chips in a line are of two machines, (1, 4, 4) on a v5e-16 for one."""
    devices = slice_of_tpus(4, 4)
    given = as_mesh(devices, *shape)
    assert max(map(len, rows_by_process(given))) == 2
    found = sharding.process_blocks(given)
    assert found.shape == shape
    assert max(map(len, rows_by_process(found))) == 1
    assert {one.id for one in found.flat} == {one.id for one in devices}


@pytest.mark.parametrize("shape", [(1, 16, 1), (1, 8, 2), (1, 2, 8)])
def test_devices_that_are_in_order_or_cannot_be_stay(shape):
    given = as_mesh(slice_of_tpus(4, 4), *shape)
    assert sharding.process_blocks(given) is given


class Lowered:
    def as_text(self):
        return "a program"


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 22.80G of "
            "15.75G hbm. Exceeded hbm capacity by 7.05G.",
            22.80 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
            "for HLO temporaries (22.26G) exceeds available HBM (15.75G).",
            22.26 * 2**30,
        ),
        ("RESOURCE_EXHAUSTED: Out of memory trying to allocate 123 bytes.", 123),
    ],
)
def test_a_program_without_room_says_how_much_it_needs(message, needed):
    class Program(Lowered):
        def compile(self, compiler_options):
            raise jax.errors.JaxRuntimeError(message)

    program, report = compiling.compiled(Program(), "tpu")
    assert program is None
    assert report.needed == pytest.approx(needed, abs=1)
    assert not report.fits(topologies.find_topology("v5e-16"))


def test_another_error_of_a_compiler_is_raised():
    class Program(Lowered):
        def compile(self, compiler_options):
            raise jax.errors.JaxRuntimeError("INTERNAL: Mosaic failed")

    with pytest.raises(jax.errors.JaxRuntimeError, match="Mosaic failed"):
        compiling.compiled(Program(), "tpu")


def test_long_compilations_are_told(monkeypatch):
    monkeypatch.setattr(compiling, "PATIENCE", 0.01)
    lowered = jax.jit(lambda x: jax.numpy.sort(x)).lower(jnp.ones(8))
    told = []

    class Program(Lowered):
        def compile(self, compiler_options):
            while not told:
                pass
            return lowered.compile()

    program, report = compiling.compiled(Program(), "tpu", told.append)
    assert program is not None and told[0] > 0
    assert report.needed == report.memory.total >= 64


def on_mesh(x):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return sharding.shard(x, mesh)


def test_programs_are_saved_and_loaded(tmp_path):
    x = on_mesh(jnp.arange(6.0))
    program = jax.jit(lambda tree: {"y": tree["x"] * 2}).lower({"x": x}).compile()
    compiling.save(tmp_path / "programs", {"double": program}, {"topology": "cpu"})
    about, found = compiling.load(tmp_path / "programs")
    assert about == {"topology": "cpu"}
    np.testing.assert_array_equal(found["double"]({"x": x})["y"], 2 * x)


def test_programs_for_other_devices_are_refused(tmp_path, monkeypatch):
    program = jax.jit(jnp.sin).lower(on_mesh(jnp.ones(3))).compile()
    compiling.save(tmp_path / "programs", {"sine": program}, {"topology": "v5e-16"})

    def refuse(*payload, execution_devices):
        raise jax.errors.JaxRuntimeError("INTERNAL: Failed to parse\nmore")

    found = compiling.serialize_executable
    monkeypatch.setattr(found, "deserialize_and_load", refuse)
    with pytest.raises(InputError, match=r"^programs is .*v5e-16, are .*parse\)$"):
        compiling.load(tmp_path / "programs")


def test_files_that_are_not_of_programs(tmp_path, monkeypatch):
    path = tmp_path / "programs"
    path.write_bytes(b"not that")
    with pytest.raises(InputError, match="^programs is .*: a file of --save is needed"):
        compiling.load(path)
    program = jax.jit(jnp.sin).lower(on_mesh(jnp.ones(3))).compile()
    compiling.save(path, {"sine": program}, {})
    whole = path.read_bytes()
    for size in (0, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="a file of --save is needed"):
            compiling.load(path)
    path.write_bytes(whole)
    monkeypatch.setattr(jax, "__version__", "9.9")
    with pytest.raises(InputError, match=r"of jax .* jax is 9\.9"):
        compiling.load(path)
