"""Configuration of a decoder: sizes and architectural variants."""

import dataclasses
import math
from typing import Annotated, Literal, get_args

import numpy as np

from aajax.errors import InputError
from aajax.schema import Count, Natural, Positive, Range, Share, check

Family = Literal[
    "qwen2",
    "qwen3",
    "llama",
    "qwen3_moe",
    "qwen3_5_text",
    "mistral",
    "ministral",
    "ministral3",
    "smollm3",
    "phi3",
    "granite",
    "olmo2",
    "olmo3",
    "gemma2",
    "gemma3_text",
    "gemma4_text",
]
FAMILIES: tuple[Family, ...] = get_args(Family)
RopeKind = Literal["default", "linear", "llama3", "yarn", "longrope", "proportional"]
# Blocks of layers. Those of one block have the same sizes.
ATTENTION, FULL_ATTENTION, DELTA = "attention", "full_attention", "delta"
MLP, WIDE_MLP = "mlp", "wide_mlp"
_OF_KEYS = "key", "value", "key_norm"  # what layers that share keys and values lack
MOST_LAYERS = 100_000  # a hundred times those of the deepest published decoders


@dataclasses.dataclass(frozen=True)
class Rope:
    """Rotary position embeddings: angle of pair k at position p is p · frequency_k.

        frequency_k = theta^(−2k / size), then scaled:
        linear: divided by `factor`.
        llama3: wavelengths longer than original / low_frequency_factor are divided by
          `factor`, shorter than original / high_frequency_factor are kept, between
          them the two are mixed linearly in original / wavelength.
        yarn: pairs that turn less than `beta_slow` times in the original context are
          divided by `factor`, more than `beta_fast` times are kept, between them the
          two are mixed linearly in k (arXiv:2309.00071).
        longrope: divided by `short_factors`, one for each pair, which are right up to
          the original context (arXiv:2402.13753).
        proportional: of all pairs of a head, the first `share` turn as if all did,
          divided by `factor`, and the others do not turn.

    Cosines and sines are multiplied by `amplitude`.

    Attributes:
      theta: the base.
      kind: of scaling.
      factor: by which positions are compressed, or the context is extended.
      low_frequency_factor, high_frequency_factor: the band of llama3, in rotations of
        the original context.
      original_length: context before scaling, in tokens.
      share: of a head's numbers that are rotated, the first of them.
      beta_fast, beta_slow: the band of yarn, in rotations of the original context.
      is_truncated: whether yarn's band ends at whole pairs.
      attention_factor: the amplitude of yarn and longrope; None for
        0.1 ln(factor) + 1 and √(1 + ln(factor) / ln(original)).
      short_factors, long_factors: of longrope. The latter, for longer contexts, are
        kept for who reads the checkpoint elsewhere.
    """

    theta: Positive = 10_000.0
    kind: RopeKind = "default"
    factor: Positive = 1.0
    low_frequency_factor: Positive = 1.0
    high_frequency_factor: Positive = 4.0
    original_length: Annotated[int | float, Range(0, above=True)] = 8192
    share: Share = 1.0
    beta_fast: Positive = 32.0
    beta_slow: Positive = 1.0
    is_truncated: bool = True
    attention_factor: Positive | None = None
    short_factors: tuple[Positive, ...] = ()
    long_factors: tuple[Positive, ...] = ()

    __post_init__ = check

    def check_relations(self):
        if self.high_frequency_factor <= self.low_frequency_factor:
            raise InputError(
                f"high_frequency_factor is {self.high_frequency_factor}: more than "
                f"low_frequency_factor, {self.low_frequency_factor}, is needed"
            )
        if self.beta_fast <= self.beta_slow:
            raise InputError(
                f"beta_fast is {self.beta_fast}: more than beta_slow, "
                f"{self.beta_slow}, is needed"
            )
        for name in ("theta", "original_length"):
            value = getattr(self, name)
            if self.kind in ("yarn", "longrope") and value <= 1:
                raise InputError(
                    f"{name} is {value}: a number above 1 is needed with {self.kind}"
                )

    def size(self, head_dim: int) -> int:
        """How many numbers of a head are rotated, by angles that may be 0."""
        if self.kind == "proportional":
            return head_dim
        return int(head_dim * self.share)

    @property
    def default_amplitude(self) -> float:
        """The amplitude where no attention_factor is given."""
        if self.kind not in ("yarn", "longrope") or self.factor <= 1:
            return 1.0
        if self.kind == "yarn":
            return 0.1 * math.log(self.factor) + 1.0
        return math.sqrt(1 + math.log(self.factor) / math.log(self.original_length))

    @property
    def amplitude(self) -> float:
        """What cosines and sines are multiplied by."""
        return self.attention_factor or self.default_amplitude

    def frequencies(self, head_dim: int) -> np.ndarray:
        """f32[size / 2], in radians per token."""
        size = self.size(head_dim)
        plain = self.theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)
        if self.kind == "default":
            scaled = plain
        elif self.kind == "linear":
            scaled = plain / self.factor
        elif self.kind == "longrope":
            scaled = plain / np.array(self.short_factors)
        elif self.kind == "proportional":
            turns = np.arange(size // 2) < int(self.share * head_dim // 2)
            scaled = np.where(turns, plain / self.factor, 0.0)
        else:
            kept = self._kept(plain) if self.kind == "llama3" else self._of_yarn(size)
            scaled = kept * plain + (1 - kept) * plain / self.factor
        return scaled.astype(np.float32)

    def _kept(self, plain: np.ndarray) -> np.ndarray:
        """Of each pair the share of llama3 that is not compressed."""
        rotations = self.original_length * plain / (2 * np.pi)
        width = self.high_frequency_factor - self.low_frequency_factor
        return np.clip((rotations - self.low_frequency_factor) / width, 0.0, 1.0)

    def _of_yarn(self, size: int) -> np.ndarray:
        """Of each pair the share of yarn that is not compressed."""

        def pair(rotations: float) -> float:
            """The pair, a fraction, that turns so often in the original context."""
            length = self.original_length / (rotations * 2 * np.pi)
            return size * math.log(length) / (2 * math.log(self.theta))

        first, last = pair(self.beta_fast), pair(self.beta_slow)
        if self.is_truncated:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, size - 1)
        width = last - first if last != first else 1e-3
        return 1 - np.clip((np.arange(size // 2) - first) / width, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Delta:
    """Sizes of the layers of Gated DeltaNet; see `delta`.

    Attributes:
      key_heads, value_heads: the former are shared by groups of the latter.
      key_dim, value_dim: of a head.
      kernel: tokens that the convolution sees, its own included.
    """

    key_heads: Count
    value_heads: Count
    key_dim: Count
    value_dim: Count
    kernel: Annotated[int, Range(2)] = 4

    __post_init__ = check

    def check_relations(self):
        if self.value_heads % self.key_heads:
            raise InputError(
                f"key_heads is {self.key_heads}: a divisor of the {self.value_heads} "
                "value heads is needed"
            )

    @property
    def channels(self) -> int:
        """Of queries, keys and values together."""
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim


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
      joint_qk_norm: whether, instead, all heads of a token together are.
      pre_norm: whether inputs of attention and MLP are normalised.
      sandwich_norm: whether outputs of attention and MLP are normalised.
      unit_offset: whether norms multiply by 1 + scale instead of scale.
      embedding_scale: factor of embeddings.
      residual_scale: factor of what attention and MLP add.
      logit_divisor: what logits are divided by.
      attention_cap, logit_cap: c of c · tanh(x / c), through which logits of attention
        and of tokens go; None for no bound.
      query_scale: factor of attention logits; None for head_dim^(−1/2).
      query_growth: queries at position p are multiplied by
        1 + query_growth · ln(1 + ⌊p / original_length of `rope`⌋); None for 0.
      unrotated: for each layer, whether it has no rotary embedding; () for none.
      sliding: for each layer, whether it has sliding-window attention over the last
        `window` positions (its own included), with `local_rope` if given.
      output_gate: whether what heads attend to is multiplied by the sigmoid of as many
        numbers more of the query projection.
      recurrent: for each layer, whether it has Gated DeltaNet, of the sizes `delta`,
        in place of attention; () for none.
      full_head_dim, full_kv_heads: of layers that are not sliding ones; None for
        head_dim and num_kv_heads.
      keys_as_values: whether the values of layers that are not sliding ones are their
        keys, before these are normalised and rotated.
      value_norm: whether values are normalised per head, without a scale.
      num_shared: how many of the last layers have no keys and values, and attend to
        those of the last layer before them that is sliding, or not, as they are.
      wide_shared: whether their MLPs are twice as wide.
      layer_scale: whether what a layer makes of its input is multiplied by a number.
      per_layer_size: numbers of the vector that each layer is given for a token, beside
        what the layer before made of it; 0 for none. See `layers.LayerInputs`.
      num_experts: of each layer's MLP, of size `intermediate_size` each; 0 for a plain
        MLP.
      experts_per_token: those with the largest probabilities.
      normalise_experts: whether their probabilities are divided by their sum.
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
    joint_qk_norm: bool = False
    pre_norm: bool = True
    sandwich_norm: bool = False
    unit_offset: bool = False
    embedding_scale: Positive = 1.0
    residual_scale: Positive = 1.0
    logit_divisor: Positive = 1.0
    attention_cap: Positive | None = None
    logit_cap: Positive | None = None
    activation: Literal["silu", "gelu_tanh"] = "silu"
    query_scale: Positive | None = None
    query_growth: Positive | None = None
    rope: Rope = Rope()
    local_rope: Rope | None = None
    unrotated: tuple[bool, ...] = ()
    window: Count | None = None
    sliding: tuple[bool, ...] = ()
    output_gate: bool = False
    recurrent: tuple[bool, ...] = ()
    delta: Delta | None = None
    full_head_dim: Annotated[int, Range(2)] | None = None
    full_kv_heads: Count | None = None
    keys_as_values: bool = False
    value_norm: bool = False
    num_shared: Natural = 0
    wide_shared: bool = False
    layer_scale: bool = False
    per_layer_size: Natural = 0
    num_experts: Natural = 0
    experts_per_token: Natural = 0
    normalise_experts: bool = False
    max_length: Count = 32_768

    __post_init__ = check

    @property
    def attending(self) -> tuple[int, ...]:
        """Numbers of the layers with attention."""
        recurrent = self.recurrent or (False,) * self.num_layers
        return tuple(i for i, entry in enumerate(recurrent) if not entry)

    @property
    def recurring(self) -> tuple[int, ...]:
        """Numbers of the recurrent layers."""
        return tuple(i for i, entry in enumerate(self.recurrent) if entry)

    @property
    def is_uneven(self) -> bool:
        """Whether layers differ in their weights, so that they are not scanned over."""
        return bool(
            self.recurring
            or self.num_shared
            or self.per_layer_size
            or self.splits_attention
        )

    @property
    def splits_attention(self) -> bool:
        """Whether sliding layers and others differ in their weights of attention."""
        return bool(self.full_head_dim or self.full_kv_heads or self.keys_as_values)

    @property
    def first_shared(self) -> int:
        """Number of the first layer without keys and values of its own."""
        return self.num_layers - self.num_shared

    @property
    def caching(self) -> tuple[int, ...]:
        """Numbers of the layers with keys and values of their own."""
        return tuple(i for i in self.attending if i < self.first_shared)

    def is_sliding(self, layer: int) -> bool:
        """Whether a layer has sliding-window attention."""
        return bool(self.sliding) and self.sliding[layer]

    def source(self, layer: int) -> int:
        """Number of the layer whose keys and values a layer attends to."""
        if layer < self.first_shared:
            return layer
        own = self.is_sliding(layer)
        return max(i for i in self.caching if self.is_sliding(i) == own)

    @property
    def sources(self) -> frozenset[int]:
        """Numbers of the layers to whose keys and values others attend."""
        shared = range(self.first_shared, self.num_layers)
        return frozenset(self.source(i) for i in shared)

    def mixer(self, layer: int) -> str:
        """The block of a layer in which tokens meet."""
        if self.recurrent and self.recurrent[layer]:
            return DELTA
        is_full = self.splits_attention and not self.is_sliding(layer)
        return FULL_ATTENTION if is_full else ATTENTION

    def mlp(self, layer: int) -> str:
        """The block of a layer that is its MLP."""
        is_wide = self.wide_shared and layer >= self.first_shared
        return WIDE_MLP if is_wide else MLP

    def heads(self, block: str = ATTENTION) -> tuple[int, int]:
        """Key/value heads of a block of attention, and the size of a head."""
        if block != FULL_ATTENTION:
            return self.num_kv_heads, self.head_dim
        return (
            self.full_kv_heads or self.num_kv_heads,
            self.full_head_dim or self.head_dim,
        )

    def width(self, block: str = MLP) -> int:
        """Hidden units of an MLP, or of each of its experts."""
        return self.intermediate_size * (2 if block == WIDE_MLP else 1)

    def having(self, module: str) -> tuple[int, ...]:
        """Numbers of the layers that have a part, such as attention/key."""
        block, _, part = module.partition("/")

        def has(layer: int) -> bool:
            if block in (MLP, WIDE_MLP):
                return self.mlp(layer) == block
            if block not in (ATTENTION, FULL_ATTENTION, DELTA):
                return True
            if self.mixer(layer) != block or (
                part in _OF_KEYS and layer >= self.first_shared
            ):
                return False
            is_key = self.keys_as_values and block == FULL_ATTENTION
            return not (part == "value" and is_key)

        return tuple(filter(has, range(self.num_layers)))

    @property
    def units_per_token(self) -> int:
        """Hidden units of a layer's MLP, or of the experts that a token goes to."""
        return self.intermediate_size * (self.experts_per_token or 1)

    def check_relations(self):
        if self.num_heads % self.num_kv_heads:
            raise InputError(
                f"num_kv_heads is {self.num_kv_heads}: a divisor of the "
                f"{self.num_heads} query heads is needed"
            )
        for name in ("head_dim", "full_head_dim"):
            size = getattr(self, name)
            if size is not None and size % 2:
                raise InputError(f"{name} is {size}: an even number is needed")
        if self.full_kv_heads is not None and self.num_heads % self.full_kv_heads:
            raise InputError(
                f"full_kv_heads is {self.full_kv_heads}: a divisor of the "
                f"{self.num_heads} query heads is needed"
            )
        for name in ("sliding", "unrotated", "recurrent"):
            entries = getattr(self, name)
            if entries and len(entries) != self.num_layers:
                raise InputError(
                    f"{name} has {len(entries)} entries: one for each of the "
                    f"{self.num_layers} layers is needed"
                )
        if any(self.sliding) and self.window is None:
            raise InputError(
                f"window is {self.window}: sliding layers need a positive one"
            )
        if any(self.recurrent) and self.delta is None:
            raise InputError("delta is None: its sizes are needed for recurrent layers")
        self._check_shared()
        if not self.attending:
            raise InputError(
                f"recurrent is {self.recurrent}: a layer with attention is needed"
            )
        if self.num_experts and not 0 < self.experts_per_token <= self.num_experts:
            raise InputError(
                f"experts_per_token is {self.experts_per_token}: a number from 1 to "
                f"{self.num_experts}, that of experts, is needed"
            )
        self._check_rope(self.rope, self.full_head_dim or self.head_dim)
        if self.local_rope is not None:
            self._check_rope(self.local_rope, self.head_dim)

    def _check_shared(self) -> None:
        """Whether there is a layer before those that share keys for each of them."""
        if self.num_shared >= self.num_layers:
            raise InputError(
                f"num_shared is {self.num_shared}: less than the {self.num_layers} "
                "layers is needed"
            )
        own = {self.is_sliding(i) for i in self.caching}
        shared = range(self.first_shared, self.num_layers)
        if not {self.is_sliding(i) for i in shared} <= own:
            raise InputError(
                f"num_shared is {self.num_shared}: layers before them of the same "
                "kinds of attention are needed, whose keys they share"
            )

    def _check_rope(self, rope: Rope, head_dim: int) -> None:
        size = rope.size(head_dim)
        if size < 2 or size % 2:
            raise InputError(
                f"share is {rope.share}: one that gives an even number of the "
                f"{head_dim} of a head is needed"
            )
        if rope.kind == "longrope" and len(rope.short_factors) != size // 2:
            raise InputError(
                f"short_factors has {len(rope.short_factors)} entries: {size // 2} are "
                "needed, one for each pair that is rotated"
            )
