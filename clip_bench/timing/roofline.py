"""What a call of a tower has to do at least, and whether a measured time can be true on a device of known ceilings.

FLOPs are two per multiply-add. Counted, as fvcore counts them in open_clip's ``docs/model_profile.csv`` (every plain
tower of it to two decimals): the patch convolution, the projections of attention and of the MLP, the two products of
attention over the whole square, and the final projection of the one pooled token; for ``pair`` also image times
text. Not counted: softmax, norms, GELU, biases and other additions, the look-up of tokens, the normalisation of
embeddings. The roofline itself is that of Williams, Waterman, Patterson: "Roofline", CACM 52 (4), 2009.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from clip_bench.errors import UsageError
from clip_bench.record import Work
from clip_bench.specs import Precision, Tower

CHANNELS = 3
FLOAT_BYTES = 4
WEIGHT_BYTES: dict[Precision, int] = {
    Precision.FP32: 4,
    Precision.FP16: 2,
    Precision.BF16: 2,
    Precision.INT8_DYNAMIC: 1,
    Precision.INT8_QDQ: 1,
    Precision.INT8_NNCF: 1,
    Precision.INT8_VENDOR: 1,
    Precision.A16W8: 1,
}

# A measured ceiling is itself off by a few percent, and a runtime may leave out, exactly, what only the unpooled rows
# of the last layer need: 7 or 8 % of a tower of 12 layers. A time within 10 % of the ceiling is no contradiction yet.
MARGIN = 1.10
# What a call costs whatever its size: Python, copies, a few hundred kernels at 5-10 µs each, one remote call of an NPU.
OVERHEAD_S = 2e-3
# Vendors' own rows at batch 1 reach 1/10 to 1/20 of the peak that they publish; a CPU is 50 to 100 times below the
# NPU beside it. Thirty lies between: slower than this, the work was probably not done where it was asked for.
FALLBACK_FACTOR = 30.0
# Weights that stay in a cache from call to call need not cross the memory's bus; the largest last-level caches are
# about 1 GiB (EPYC with 3D V-Cache: 1152 MB), those of GPUs below 256 MiB.
CACHE_BYTES = 2.0**30

# What open_clip's towers are told that changes no product: what is not listed here has no closed form here.
_VISION = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_MILD = {"act_kwargs", "norm_kwargs", "ls_init_value", "pool_type", "final_ln_after_pool", "output_tokens"}
_MILD_VISION = _MILD | {"no_ln_pre"}
_MILD_TEXT = _MILD | {"no_causal_mask", "proj_bias", "hf_tokenizer_name", "tokenizer_kwargs", "eos_id", "pad_id"}
_WHOLE = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_bias", "init_logit_scale"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """A stack of pre-norm layers: *tokens* in, each *width* wide; *hidden* is the width inside the MLP.

    ``causal``: half of the square of attention is masked. ``pooled``: only one token leaves the last layer.
    """

    tokens: int
    width: int
    layers: int
    hidden: int
    causal: bool = False
    pooled: bool = True

    @property
    def parameters(self) -> int:
        """Weights and biases of all layers, their norms included."""
        w, h = self.width, self.hidden
        return self.layers * (4 * w * w + 4 * w + 2 * w * h + h + w + 4 * w)

    @property
    def flops(self) -> int:
        """Of all layers, attention over the whole square."""
        return 2 * self.layers * self._layer(self.tokens, self.tokens * self.tokens)

    @property
    def least_flops(self) -> int:
        """Without what an exact rewrite may leave out: the masked half, and the last layer's unpooled rows."""
        pairs = self.tokens * (self.tokens + 1) // 2 if self.causal else self.tokens * self.tokens
        if not self.pooled:
            return 2 * self.layers * self._layer(self.tokens, pairs)
        keys = 2 * (self.tokens - 1) * self.width * self.width  # of the others the last layer takes keys and values
        return 2 * ((self.layers - 1) * self._layer(self.tokens, pairs) + self._layer(1, self.tokens) + keys)

    def _layer(self, rows: int, pairs: int) -> int:
        """Multiply-adds of one layer for *rows* tokens whose attention has *pairs* products of rows."""
        return rows * (4 * self.width * self.width + 2 * self.width * self.hidden) + 2 * pairs * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """A vision transformer over square pictures of *image_size* pixels in patches of *patch*; *extra*: its odd weights."""

    image_size: int
    patch: int
    stack: Transformer
    embed: int
    extra: int = 0

    @property
    def parameters(self) -> int:
        """Patch convolution, class token, positions, norms, layers and projection."""
        w = self.stack.width
        return self._patches + (self.stack.tokens + 5 + self.embed) * w + self.stack.parameters + self.extra

    @property
    def _patches(self) -> int:
        return CHANNELS * self.patch * self.patch * self.stack.width

    @property
    def around(self) -> int:
        """FLOPs before and after the layers."""
        return 2 * ((self.stack.tokens - 1) * self._patches + self.stack.width * self.embed)

    @property
    def values(self) -> int:
        """Numbers that go in and out with one picture."""
        return CHANNELS * self.image_size * self.image_size + self.embed


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text transformer over as many tokens as its stack takes, from a table of *vocabulary* rows."""

    vocabulary: int
    stack: Transformer
    embed: int
    extra: int = 0

    @property
    def parameters(self) -> int:
        """Table, positions, layers, norm and projection."""
        return (self.vocabulary + self.stack.tokens + 2 + self.embed) * self.stack.width + self._rest

    @property
    def read(self) -> int:
        """Of the parameters those that a call must read: of the table one row per token, alike in all its texts."""
        rows = min(self.stack.tokens, self.vocabulary)
        return (rows + self.stack.tokens + 2 + self.embed) * self.stack.width + self._rest

    @property
    def _rest(self) -> int:
        return self.stack.parameters + self.extra

    @property
    def around(self) -> int:
        """FLOPs after the layers; a look-up before them is none."""
        return 2 * self.stack.width * self.embed

    @property
    def values(self) -> int:
        """Numbers that go in and out with one text: its token ids and its embedding."""
        return self.stack.tokens + self.embed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The two towers of a model; None for one without a closed form here, which is never guessed."""

    vision: Vision | None
    text: Text | None


def architecture(config: Mapping[str, Any]) -> Sizes:
    """The sizes in open_clip's description of a model, as ``open_clip.get_model_config`` gives it.

    A tower of timm or Hugging Face, a ResNet, and one with any field that is not known to leave the products alone
    (attentional pooling, a class token in the text) is None; defaults are those of open_clip 3.3's ``CLIPVisionCfg``
    and ``CLIPTextCfg``.
    """
    if set(config) - _WHOLE:
        return Sizes(vision=None, text=None)
    embed = int(config["embed_dim"])
    return Sizes(vision=_vision(config["vision_cfg"], embed), text=_text(config["text_cfg"], embed))


def work(
    sizes: Sizes,
    tower: Tower,
    precision: Precision,
    *,
    batch: int = 1,
    texts: int = 10,
    io_bytes: int = FLOAT_BYTES,
    least: bool = False,
) -> Work | None:
    """The work of one call of *batch* samples; None where a tower that it takes has no closed form.

    A sample is a picture, a text, or for ``pair`` a picture, beside which the call has *texts* texts in all. ``bytes``
    is a lower bound: each weight read once per call at the width of *precision* (biases and norms, too, which
    recipes often leave wider), of the token table one row per token of a single text, and inputs and outputs once at
    *io_bytes* each (token ids of 32 bits, or more). No activation is ever written back. *least* leaves out the FLOPs
    that an exact rewrite could.

    Raises:
        UsageError: *batch* or *texts* is below one.
    """
    if batch < 1 or texts < 1:
        msg = f"a call has at least one sample, not a batch of {batch} with {texts} texts: give both from 1 on"
        raise UsageError(msg)
    pictures = 0 if tower is Tower.TEXT else batch
    sentences = {Tower.IMAGE: 0, Tower.TEXT: batch, Tower.PAIR: texts}[tower]
    parts = [(sizes.vision, pictures), (sizes.text, sentences)]
    flops, weights, moved = 0, 0, 0
    for part, count in parts:
        if count and part is None:
            return None
        if count and part is not None:
            flops += count * (part.around + (part.stack.least_flops if least else part.stack.flops))
            weights += part.read if isinstance(part, Text) else part.parameters
            moved += count * part.values
    if sizes.vision is not None:
        flops += 2 * pictures * sentences * sizes.vision.embed
        moved += 2 * pictures * sentences  # logits per picture and per text
    return Work(flops=float(flops), bytes=float(weights * WEIGHT_BYTES[precision] + moved * io_bytes))


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a device can do at most at one precision: FLOP/s (a TOPS counts as 1e12), bytes/s, and who says so.

    An infinite ``bytes_s`` is a bandwidth that nobody tells: it bounds nothing. ``cache_bytes`` is what may stay
    beside the processor from call to call.
    """

    flops_s: float
    bytes_s: float
    source: str
    cache_bytes: float = CACHE_BYTES

    def __post_init__(self) -> None:
        if not (self.flops_s > 0 and self.bytes_s > 0 and math.isfinite(self.flops_s)):
            msg = f"{self.source}: a ceiling is positive and its FLOP/s finite, not {self.flops_s} FLOP/s, {self.bytes_s} B/s"
            raise UsageError(msg)


class Word(StrEnum):
    """What a time says beside a ceiling, from too fast to too slow."""

    IMPOSSIBLE = "impossible"
    PLAUSIBLE = "plausible"
    FALLBACK = "fallback suspected"


class Bound(StrEnum):
    """Which roof is the lower one for a piece of work."""

    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A time beside what its device could do: the FLOP/s reached, the bound that holds, its time and the share of it."""

    flops_s: float
    bound: Bound
    bound_s: float
    share: float
    word: Word


def verdict(
    work: Work,
    seconds: float,
    ceiling: Ceiling,
    *,
    overhead_s: float = OVERHEAD_S,
    margin: float = MARGIN,
    factor: float = FALLBACK_FACTOR,
) -> Verdict:
    """Hold *seconds* of one call against *ceiling*.

    ``impossible`` is a time more than *margin* below the bound, of which only the bytes beyond the cache count;
    ``fallback suspected`` one that exceeds *factor* bounds by more than *overhead_s*, the fixed cost of a call: a
    tiny model whose bound is microseconds is ``plausible`` at 1 ms. ``share`` is bound over time: above 1 it is
    faster than the bound, which a cache explains where the bound is ``bandwidth``.

    Raises:
        UsageError: *seconds* is no positive, finite time, or *work* has no FLOPs.
    """
    if not (math.isfinite(seconds) and seconds > 0 and work.flops > 0):
        msg = (
            f"a verdict needs a positive time and work, not {seconds} s for {work.flops} FLOPs: measure the cell again"
        )
        raise UsageError(msg)
    compute_s, bandwidth_s = work.flops / ceiling.flops_s, work.bytes / ceiling.bytes_s
    bound_s = max(compute_s, bandwidth_s)
    certain_s = max(compute_s, (work.bytes - ceiling.cache_bytes) / ceiling.bytes_s)
    word = Word.PLAUSIBLE
    if seconds * margin < certain_s:
        word = Word.IMPOSSIBLE
    elif seconds > factor * bound_s + overhead_s:
        word = Word.FALLBACK
    return Verdict(
        flops_s=work.flops / seconds,
        bound=Bound.COMPUTE if compute_s >= bandwidth_s else Bound.BANDWIDTH,
        bound_s=bound_s,
        share=bound_s / seconds,
        word=word,
    )


def _vision(config: Mapping[str, Any], embed: int) -> Vision | None:
    size, layers = config.get("image_size", 224), config.get("layers", 12)
    plain = isinstance(size, int) and isinstance(layers, int) and not set(config) - _VISION - _MILD_VISION
    if not plain or config.get("output_tokens"):
        return None
    width, patch = config.get("width", 768), config.get("patch_size", 16)
    stack = Transformer(
        tokens=(size // patch) ** 2 + 1,
        width=width,
        layers=layers,
        hidden=int(width * config.get("mlp_ratio", 4.0)),
        pooled=config.get("pool_type", "tok") == "tok",
    )
    norms = -2 * width if config.get("no_ln_pre") else 0
    return Vision(image_size=size, patch=patch, stack=stack, embed=embed, extra=norms + _scales(config, stack))


def _text(config: Mapping[str, Any], embed: int) -> Text | None:
    if set(config) - _TEXT - _MILD_TEXT or config.get("output_tokens"):
        return None
    width = config.get("width", 512)
    stack = Transformer(
        tokens=config.get("context_length", 77),
        width=width,
        layers=config.get("layers", 12),
        hidden=int(width * config.get("mlp_ratio", 4.0)),
        causal=not config.get("no_causal_mask"),
        pooled=config.get("pool_type") != "avg",
    )
    bias = embed if config.get("proj_bias") else 0
    return Text(
        vocabulary=config.get("vocab_size", 49408), stack=stack, embed=embed, extra=bias + _scales(config, stack)
    )


def _scales(config: Mapping[str, Any], stack: Transformer) -> int:
    """Parameters of the layers' scales, which some models have."""
    return 2 * stack.layers * stack.width if config.get("ls_init_value") is not None else 0
