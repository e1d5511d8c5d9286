"""Mistral's and Meta's own files: params.json and consolidated weights, from the Hub and from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.engines.vllm.loads import longest_length, native_class, why_not_loaded
from inspector.engines.vllm.version import NEWEST
from inspector.errors import FileMissing, InvalidConfig
from inspector.hub import Resolver, resolve
from inspector.hub.formats.params import LONGEST, mistral_config
from inspector.model import build_model
from tests.hub.make_models import torch_file
from tests.hub.test_local import write
from tests.hub_server import Content, LoopbackHub, sharded, sparse

Shapes = dict[str, tuple[str, list[int]]]
DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 256, 512, 4, 8, 2, 64, 1000
PARAMS: dict[str, Any] = {
    "dim": DIM,
    "n_layers": LAYERS,
    "head_dim": HEAD_DIM,
    "hidden_dim": HIDDEN,
    "n_heads": HEADS,
    "n_kv_heads": KV_HEADS,
    "norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "rope_theta": 1e6,
}
ATTENTION = 2 * DIM * HEADS * HEAD_DIM + 2 * DIM * KV_HEADS * HEAD_DIM
TOTAL = 2 * VOCABULARY * DIM + DIM + LAYERS * (ATTENTION + 3 * DIM * HIDDEN + 2 * DIM)


def mistral(experts: int = 0, head_dim: int = HEAD_DIM) -> Shapes:
    """The tensors of Mistral's own files."""
    shapes: Shapes = {"tok_embeddings.weight": ("BF16", [VOCABULARY, DIM]), "norm.weight": ("BF16", [DIM])}
    shapes["output.weight"] = ("BF16", [VOCABULARY, DIM])
    for i in range(LAYERS):
        layer = f"layers.{i}"
        for norm in ("attention_norm", "ffn_norm"):
            shapes[f"{layer}.{norm}.weight"] = ("BF16", [DIM])
        for name, heads in (("wq", HEADS), ("wk", KV_HEADS), ("wv", KV_HEADS)):
            shapes[f"{layer}.attention.{name}.weight"] = ("BF16", [heads * head_dim, DIM])
        shapes[f"{layer}.attention.wo.weight"] = ("BF16", [DIM, HEADS * head_dim])
        fronts = [f"{layer}.feed_forward.experts.{n}" for n in range(experts)] or [f"{layer}.feed_forward"]
        if experts:
            shapes[f"{layer}.feed_forward.gate.weight"] = ("BF16", [experts, DIM])
        for front in fronts:
            shapes |= {f"{front}.{name}.weight": ("BF16", [HIDDEN, DIM]) for name in ("w1", "w3")}
            shapes[f"{front}.w2.weight"] = ("BF16", [DIM, HIDDEN])
    return shapes


FILES: dict[str, Content] = {"params.json": PARAMS, "consolidated.safetensors": sparse(mistral()), "tekken.json": {}}


@pytest.mark.parametrize("where", ["hub", "revision", "folder", "file", "selected", "cache", "hf cache"])
def test_a_repo_of_mistrals_own_files_is_the_model_that_vllm_makes_of_it(
    where: str, tmp_path: Path, home: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    files = {f"original/{name}": content for name, content in FILES.items()} if where == "selected" else FILES
    hub.add_repo("org/name", files).commit(files, branch="dev")
    folder = write(tmp_path / "m", FILES)
    given = {"folder": str(folder), "file": str(folder / "consolidated.safetensors"), "revision": "org/name@dev"}
    if where in ("folder", "file"):
        found = resolve(given[where])
    elif where == "cache":
        resolver.resolve("org/name")
        found = resolve("org/name", offline=True, endpoint=hub.url)
    elif where == "hf cache":
        snapshot = home / "hub/models--org--name/snapshots" / ("0" * 40)
        write(snapshot, FILES)
        (snapshot.parent.parent / "refs").mkdir()
        (snapshot.parent.parent / "refs/main").write_text("0" * 40)
        found = resolve("org/name", offline=True)
    else:
        found = resolver.resolve("org/name:original" if where == "selected" else given.get(where, "org/name"))
    model = build_model(found)
    assert model.parameters.total == TOTAL
    architecture = model.architecture
    assert (architecture.num_key_value_heads, architecture.head_dim) == (KV_HEADS, HEAD_DIM)
    assert architecture.max_position_embeddings == LONGEST
    assert sum(layer.values_per_token for layer in architecture.layers) == LAYERS * 2 * KV_HEADS * HEAD_DIM
    assert [note for note in found.warnings if note.startswith("read from params.json")]
    assert not [note for note in found.warnings if "config.json" in note]


def test_consolidated_shards_are_summed_and_never_beside_the_converted_ones(
    tmp_path: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    shards = {name.replace("model", "consolidated"): content for name, content in sharded(mistral(), 3).items()}
    index: Any = shards["consolidated.safetensors.index.json"]
    index["weight_map"] = {name: file.replace("model", "consolidated") for name, file in index["weight_map"].items()}
    hub.add_repo("org/index", {"params.json": PARAMS, **shards})
    bare = {name: content for name, content in shards.items() if not name.endswith(".json")}
    for given in ("org/index", str(write(tmp_path / "bare", {"params.json": PARAMS, **bare}))):
        assert build_model(resolver.resolve(given)).parameters.total == TOTAL
    converted: Shapes = {f"model.{name}": entry for name, entry in mistral().items()}
    both = {"config.json": {"model_type": "mistral"}, **sharded(converted, 2), **FILES}
    hub.add_repo("org/both", both)
    found = resolver.resolve("org/both")
    assert {tensor.name for tensor in found.tensors} == set(converted)
    assert [note for note in found.warnings if "consolidated.safetensors" in note]


@pytest.mark.parametrize("where", ["hub", "folder"])
def test_beside_a_config_vllm_goes_by_mistrals_own_file(
    where: str, tmp_path: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    """Voxtral Realtime: transformers' class is none of vLLM's, and vLLM loads the repo by its params.json."""
    encoder = {"encoder_args": {"causal": True, "dim": 64}, "downsample_args": {"downsample_factor": 4}}
    own = {**PARAMS, "max_seq_len": 65_536, "multimodal": {"whisper_model_args": encoder}}
    config = {"model_type": "voxtral_realtime", "architectures": ["VoxtralRealtimeForConditionalGeneration"]}
    converted: Shapes = {f"language_model.model.{name}": entry for name, entry in mistral().items()}
    files = {"config.json": config, **sharded(converted, 2), **FILES, "params.json": own}
    hub.add_repo("org/name", files)
    found = resolver.resolve("org/name") if where == "hub" else resolve(str(write(tmp_path / "m", files)))
    shape = build_model(found).architecture
    assert shape.architecture == "VoxtralRealtimeForConditionalGeneration"
    assert native_class(shape) == "VoxtralRealtimeGeneration"
    assert why_not_loaded(shape, NEWEST) is None
    assert longest_length(shape) == 65_536
    plain = {name: content for name, content in files.items() if not name.startswith("consolidated")}
    assert "params.json" not in resolve(str(write(tmp_path / "plain", plain))).config


def test_a_config_beside_consolidated_weights_alone_is_the_config(tmp_path: Path) -> None:
    config = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None}
    config |= {"num_hidden_layers": LAYERS, "hidden_size": DIM, "intermediate_size": HIDDEN, "head_dim": HEAD_DIM}
    config |= {"num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": VOCABULARY}
    model = build_model(resolve(str(write(tmp_path / "m", {"config.json": config, **FILES}))))
    assert (model.parameters.total, model.parameters.exact) == (TOTAL, True)


def test_experts_are_mixtrals(tmp_path: Path) -> None:
    params = {**PARAMS, "moe": {"num_experts": 4, "num_experts_per_tok": 2}}
    files: dict[str, Content] = {"params.json": params, "consolidated.safetensors": sparse(mistral(experts=4))}
    model = build_model(resolve(str(write(tmp_path / "m", files))))
    assert model.architecture.architecture == "MixtralForCausalLM"
    assert model.parameters.total == TOTAL + LAYERS * (3 * 3 * DIM * HIDDEN + 4 * DIM)
    assert model.parameters.exact


def pixtral(width: int = 128, layers: int = 2, inner: int = 256) -> Shapes:
    shapes: Shapes = {"vision_encoder.patch_conv.weight": ("BF16", [width, 3, 16, 16])}
    shapes["vision_encoder.ln_pre.weight"] = ("BF16", [width])
    for i in range(layers):
        front = f"vision_encoder.transformer.layers.{i}"
        shapes |= {f"{front}.attention.w{letter}.weight": ("BF16", [width, width]) for letter in "qkvo"}
        shapes |= {f"{front}.{name}.weight": ("BF16", [width]) for name in ("attention_norm", "ffn_norm")}
        shapes |= {f"{front}.feed_forward.{name}.weight": ("BF16", [inner, width]) for name in ("w1", "w3")}
        shapes[f"{front}.feed_forward.w2.weight"] = ("BF16", [width, inner])
    for name, into in (("w_in", width), ("w_out", DIM)):
        shapes[f"vision_language_adapter.{name}.weight"] = ("BF16", [DIM, into])
        shapes[f"vision_language_adapter.{name}.bias"] = ("BF16", [DIM])
    return shapes


def test_an_image_encoder_is_pixtrals(tmp_path: Path) -> None:
    image = {"hidden_size": 128, "num_channels": 3, "image_size": 64, "patch_size": 16, "rope_theta": 1e4}
    image |= {"intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "adapter_bias": True}
    image |= {"image_token_id": 10}
    shapes = {**mistral(), **pixtral()}
    files: dict[str, Content] = {
        "params.json": {**PARAMS, "vision_encoder": image},
        "consolidated.safetensors": sparse(shapes),
    }
    model = build_model(resolve(str(write(tmp_path / "m", files))))
    encoder = 128 * 3 * 256 + 128 + 2 * (4 * 128**2 + 2 * 128 + 3 * 128 * 256)
    assert model.parameters.total == TOTAL + encoder + 128 * DIM + DIM**2 + 2 * DIM
    assert model.architecture.num_key_value_heads == KV_HEADS
    assert model.architecture.vision_tower is not None


def meta(ranks: int = 1) -> dict[str, tuple[int, ...]]:
    """A rank's tensors of Meta's own files: all but the norms are cut."""
    head_dim = DIM // HEADS
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (_, shape) in mistral(head_dim=head_dim).items():
        if len(shape) == 1:
            shapes[name] = tuple(shape)
        elif name.endswith(("wo.weight", "w2.weight")) or name.startswith("tok"):
            shapes[name] = (shape[0], shape[1] // ranks)
        else:
            shapes[name] = (shape[0] // ranks, shape[1])
    return shapes


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("where", ["hub", "folder"])
def test_metas_files_are_put_together_of_all_ranks(
    ranks: int, where: str, tmp_path: Path, hub: LoopbackHub, resolver: Resolver
) -> None:
    """hidden_dim is not said: 2/3 of 4 * 256 is 682, of which 0.75 is 511, rounded up to a multiple of 256."""
    params = {"dim": DIM, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": KV_HEADS, "vocab_size": -1}
    params |= {"multiple_of": 256, "ffn_dim_multiplier": 0.75, "norm_eps": 1e-5}
    files: dict[str, Content] = {"params.json": params, "tokenizer.model": b"x"}
    files |= {f"consolidated.{n:02}.pth": torch_file(meta(ranks)) for n in range(ranks)}
    hub.add_repo("org/name", files)
    found = resolver.resolve("org/name") if where == "hub" else resolve(str(write(tmp_path / "m", files)))
    model = build_model(found)
    attention = 2 * DIM**2 + 2 * DIM * KV_HEADS * DIM // HEADS
    expected = 2 * VOCABULARY * DIM + DIM + LAYERS * (attention + 3 * DIM * HIDDEN + 2 * DIM)
    assert model.parameters.total == expected
    assert model.architecture.intermediate_size == HIDDEN
    assert model.architecture.vocab_size == VOCABULARY
    assert len(found.files) == ranks


def test_a_rank_that_is_missing_is_named(tmp_path: Path) -> None:
    files = {f"consolidated.{n:02}.pth": torch_file(meta(4)) for n in (0, 1, 3)}
    with pytest.raises(FileMissing, match=r"consolidated\.02\.pth"):
        resolve(str(write(tmp_path / "m", {"params.json": {"dim": DIM}, **files})))


def test_what_the_keys_say() -> None:
    config = mistral_config({**PARAMS, "max_seq_len": 32_768, "sliding_window": [None, 4096]})
    assert config["max_position_embeddings"] == 32_768
    assert (config["sliding_window"], config["layer_types"]) == (4096, ["full_attention", "sliding_attention"] * 2)
    assert mistral_config({**PARAMS, "sliding_window": 4096})["layer_types"] == ["sliding_attention"] * LAYERS
    assert mistral_config(PARAMS)["sliding_window"] is None
    quantized = mistral_config({**PARAMS, "quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}})
    assert quantized["quantization_config"] == {"quant_method": "fp8", "activation_scheme": "static"}
    yarn = mistral_config({**PARAMS, "yarn": {"factor": 8, "original_max_position_embeddings": 8192, "alpha": 1}})
    assert yarn["rope_parameters"]["factor"] == 8
    latent = {"q_lora_rank": 32, "kv_lora_rank": 64, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32}
    moe = {"num_experts": 8, "num_experts_per_tok": 2, "num_shared_experts": 1, "expert_hidden_dim": 64}
    large = mistral_config({**PARAMS, **latent, "moe": moe})
    assert (large["model_type"], large["n_routed_experts"], large["kv_lora_rank"]) == ("deepseek_v3", 8, 64)


@pytest.mark.parametrize("params", [{}, {"learning_rate": 0.1}, {"dim": "x", "moe": 3, "n_layers": 10**12}])
def test_params_of_something_else_are_no_config(params: Content, tmp_path: Path) -> None:
    found = resolve(str(write(tmp_path / "m", {**FILES, "params.json": params})))
    assert found.config == {}
    assert build_model(found).parameters.total == TOTAL


@pytest.mark.parametrize("odd", [{"sliding_window": []}, {"moe": 3, "quantization": []}, {"yarn": 1, "multimodal": 2}])
def test_odd_values_say_nothing(odd: dict[str, Any], tmp_path: Path) -> None:
    found = resolve(str(write(tmp_path / "m", {**FILES, "params.json": {**PARAMS, **odd}})))
    assert build_model(found).parameters.total == TOTAL


def test_params_that_are_no_object_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"params\.json"):
        resolve(str(write(tmp_path / "m", {**FILES, "params.json": []})))
