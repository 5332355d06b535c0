"""Configuration of a decoder: sizes and architectural variants."""

import dataclasses
from typing import Annotated, Literal, get_args

import numpy as np

from aajax.errors import InputError
from aajax.schema import Count, Positive, Range, check

Family = Literal["qwen2", "qwen3", "llama", "gemma3_text"]
FAMILIES: tuple[Family, ...] = get_args(Family)
RopeKind = Literal["default", "linear", "llama3"]
MOST_LAYERS = 100_000  # a hundred times those of the deepest published decoders


@dataclasses.dataclass(frozen=True)
class Rope:
    """Rotary position embeddings: angle of pair k at position p is p · frequency_k.

        frequency_k = theta^(−2k / head_dim), then scaled:
        linear: divided by `factor`.
        llama3: wavelengths longer than original / low_frequency_factor are divided by
          `factor`, shorter than original / high_frequency_factor are kept, between
          them the two are mixed linearly in original / wavelength.

    Attributes:
      theta: the base.
      kind: of scaling.
      factor: by which positions are compressed.
      low_frequency_factor, high_frequency_factor: the band of llama3, in rotations of
        the original context.
      original_length: context before scaling, in tokens.
    """

    theta: Positive = 10_000.0
    kind: RopeKind = "default"
    factor: Positive = 1.0
    low_frequency_factor: Positive = 1.0
    high_frequency_factor: Positive = 4.0
    original_length: Annotated[int | float, Range(0, above=True)] = 8192

    __post_init__ = check

    def check_relations(self):
        if self.high_frequency_factor <= self.low_frequency_factor:
            raise InputError(
                f"high_frequency_factor is {self.high_frequency_factor}: more than "
                f"low_frequency_factor, {self.low_frequency_factor}, is needed"
            )

    def frequencies(self, head_dim: int) -> np.ndarray:
        """f32[head_dim / 2], in radians per token."""
        plain = self.theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
        if self.kind == "default":
            scaled = plain
        elif self.kind == "linear":
            scaled = plain / self.factor
        else:
            rotations = self.original_length * plain / (2 * np.pi)
            width = self.high_frequency_factor - self.low_frequency_factor
            kept = np.clip((rotations - self.low_frequency_factor) / width, 0.0, 1.0)
            scaled = kept * plain + (1 - kept) * plain / self.factor
        return scaled.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Configuration of a decoder; hashable, hence static under `jit`.

    Attributes:
      family: model family, which sets the names in its checkpoints.
      num_heads, num_kv_heads: query heads, and key/value heads shared by groups of them
        (grouped-query attention).
      attention_bias, output_bias, mlp_bias: whether the query, key and value
        projections, the output projection, and the MLP have biases.
      qk_norm: whether queries and keys are normalised per head.
      sandwich_norm: whether outputs of attention and MLP are normalised too.
      unit_offset: whether norms multiply by 1 + scale instead of scale.
      scale_embedding: whether embeddings are multiplied by √hidden_size.
      query_scale: factor of attention logits; None for head_dim^(−1/2).
      sliding: for each layer, whether it has sliding-window attention over the last
        `window` positions (its own included), with `local_rope` if given.
    """

    family: Family
    vocab_size: Count
    hidden_size: Count
    intermediate_size: Count
    num_layers: Annotated[int, Range(1, MOST_LAYERS)]
    num_heads: Count
    num_kv_heads: Count
    head_dim: Annotated[int, Range(2)]
    norm_epsilon: Positive = 1e-6
    tie_embeddings: bool = False
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    sandwich_norm: bool = False
    unit_offset: bool = False
    scale_embedding: bool = False
    activation: Literal["silu", "gelu_tanh"] = "silu"
    query_scale: Positive | None = None
    rope: Rope = Rope()
    local_rope: Rope | None = None
    window: Count | None = None
    sliding: tuple[bool, ...] = ()
    max_length: Count = 32_768

    __post_init__ = check

    def check_relations(self):
        if self.num_heads % self.num_kv_heads:
            raise InputError(
                f"num_kv_heads is {self.num_kv_heads}: a divisor of the "
                f"{self.num_heads} query heads is needed"
            )
        if self.head_dim % 2:
            raise InputError(f"head_dim is {self.head_dim}: an even number is needed")
        if self.sliding and len(self.sliding) != self.num_layers:
            raise InputError(
                f"sliding has {len(self.sliding)} entries: one for each of the "
                f"{self.num_layers} layers is needed"
            )
        if any(self.sliding) and self.window is None:
            raise InputError(
                f"window is {self.window}: sliding layers need a positive one"
            )
