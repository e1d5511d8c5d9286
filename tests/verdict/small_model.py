"""Two models for the tests: a small one whose sizes are worked out in the head, and Llama 3 8B."""

from __future__ import annotations

from inspector.memory import Estimate, Part, Workload
from inspector.model import Architecture, Model, Parameters
from inspector.model.layers import FullAttention, Layer
from inspector.model.model import Share

# The small model: an embedding of 500 B, 4 layers of 1,000 B, a head of 300 B, all at 1 B a parameter. One token of
# one sequence adds 4 B to each layer's cache (a key and a value of one 16-bit number each) and 10 B of activations.
LAYER = FullAttention(num_key_value_heads=1, head_dim=1, v_head_dim=1)
WORKLOAD = Workload(context=10)


def model(
    by_layer: tuple[int, ...] = (1000,) * 4,
    *,
    layers: tuple[Layer, ...] = (LAYER,) * 4,
    embedding: int = 500,
    head: int = 300,
    element_bytes: int = 1,
    maximum: int | None = 4096,
    vocab_size: int | None = None,
    hidden_size: int | None = None,
    intermediate_size: int | None = None,
) -> Model:
    total = sum(by_layer) + embedding + head if by_layer else 4000 + embedding + head
    return Model(
        repo_id="small/model",
        architecture=Architecture(
            model_type="llama",
            architecture="LlamaForCausalLM",
            num_hidden_layers=len(layers),
            hidden_size=hidden_size,
            num_attention_heads=None,
            num_key_value_heads=None,
            head_dim=None,
            intermediate_size=intermediate_size,
            vocab_size=vocab_size,
            max_position_embeddings=maximum,
            tie_word_embeddings=False,
            dtype="bfloat16",
            sliding_window=None,
            experts=None,
            quantization=None,
            layers=layers,
            mlp_gated=True,
        ),
        parameters=Parameters(
            total=total,
            active=total,
            by_component={"embedding": embedding, "mlp": total - embedding - head, "head": head},
            by_dtype={},
            buffers=0,
            stored_only={},
            stored_bytes=total * element_bytes,
            layers=tuple(Share(layer, element_bytes * layer, 1) for layer in by_layer),
        ),
        stored_dtype="BF16",
    )


def size(model: Model, workload: Workload) -> Estimate:
    """weights + 4 B a token and layer + 10 B a token + 100 B."""
    tokens = workload.context * workload.batch
    return Estimate(
        workload,
        weights=Part("weights", model.parameters.stored_bytes, "", ""),
        kv_cache=Part("kv_cache", 4 * tokens * len(model.architecture.layers), "", ""),
        activations=Part("activations", 10 * tokens, "", ""),
        overhead=Part("overhead", 100, "", ""),
        kv_bytes_per_token=4 * len(model.architecture.layers),
        kv_dtype="bf16",
    )


def llama_3_8b() -> Model:
    """32 layers of 218,112,000 parameters (4096 x (2 x 4096 + 2 x 1024 + 3 x 14336 + 2)); embedding and head of
    128,256 x 4096 each; a last norm of 4,096: 8,030,261,248 in all, of 2 B each."""
    layer = FullAttention(num_key_value_heads=8, head_dim=128, v_head_dim=128)
    made = model(
        (218_112_000,) * 32,
        layers=(layer,) * 32,
        embedding=525_336_576 + 4096,
        head=525_336_576,
        element_bytes=2,
        maximum=8192,
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
    )
    assert made.parameters.total == 8_030_261_248
    return made
