"""What trainers' keys say of a step that is no supervised fine-tuning: preferences, rewards, completions.

The names and defaults are those of TRL's ..._config.py (trainer/, experimental/cpo and orpo), which Axolotl's keys are
handed to.
"""

from __future__ import annotations

from collections.abc import Iterable

from inspector.trainers.reading import Reading

DPO_LOSSES = (
    *("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired"),
    *("apo_zero", "apo_down", "discopop", "sigmoid_norm"),
)
"""Losses that are functions of the sums of log-probabilities: all take the same memory."""

FUSED = "since 1.14 TRL's fused head makes no logits for this: --logits chunked"

PADDED = "padding_free: TRL's DPOTrainer pads all the same (1.12 and 1.16), and what is counted has no padding"
"""trainer/dpo_trainer.py, __init__."""

LENGTHS = "how long prompts are: --context N, prompt and completion together"


def objective_of(reading: Reading) -> str:
    """The objective that a file of TRL's is for, by the keys that only its trainer has; "sft" where there is none.

    What the caller says goes before.
    """
    if reading.objective:
        return reading.objective
    losses = reading.names("loss_type").split(",") if reading.get("loss_type") else []
    signs = (
        ("ppo", ("num_ppo_epochs", "response_length", "local_rollout_forward_batch_size", "cliprange_value")),
        ("gkd", ("lmbda", "seq_kd", "teacher_model_name_or_path")),
        ("rloo", ("normalize_advantages", "reward_clip_range")),
        ("grpo", ("num_generations", "max_completion_length", "use_vllm", "vllm_mode", "scale_rewards")),
        ("kto", ("desirable_weight", "undesirable_weight")),
        ("reward", ("center_rewards_coefficient",)),
        ("simpo", ("simpo_gamma",)),
        ("cpo", ("cpo_alpha",)),
        ("dpo", ("rpo_alpha", "precompute_ref_log_probs", "f_divergence_type", "ld_alpha", "discopop_tau")),
    )
    found = next((name for name, keys in signs if any(reading.get(key) is not None for key in keys)), "")
    if not found:
        by_loss = {"kto": "kto", "apo_zero_unpaired": "kto", "simpo": "simpo"} | dict.fromkeys(DPO_LOSSES, "dpo")
        found = next((by_loss[loss] for loss in losses if loss in by_loss), "sft")
    if found == "simpo" and reading.number("cpo_alpha", 0.0):
        return "cpo"
    if found == "dpo":
        for loss in losses:
            if loss not in (*DPO_LOSSES, "sft"):
                reading.refuse("loss_type", f"DPO with the loss '{loss}'")
        return with_sft(reading, losses)
    return found


def with_sft(reading: Reading, losses: Iterable[str] = ()) -> str:
    """DPO, or DPO with SFT's loss beside it: by rpo_alpha, or as one of several losses."""
    return "rpo" if reading.get("rpo_alpha") is not None or "sft" in losses else "dpo"


def put_objective(reading: Reading, name: str, key: str, *, reference: str = "auto") -> None:
    """The objective, and where its reference model is."""
    if name == "sft":
        return
    if reading.objective:
        reading.settings["objective"] = name
    elif key in reading.values:
        reading.put("objective", name, key)
    else:
        reading.assume("objective", name, "by the keys that only its trainer has")
    if reference != "auto":
        reading.settings["reference"] = reference


def distillation(reading: Reading) -> str:
    """GKD by TRL's keys, "kd" where its divergence is one of Kullback and Leibler; and the teacher."""
    if reading.get("teacher_model_name_or_path") is not None:
        reading.put("reference_repo", reading.get("teacher_model_name_or_path"), "teacher_model_name_or_path")
    if reading.get("max_completion_length") is not None:
        return _on_policy(reading)
    reading.taken |= {"lmbda", "seq_kd", "temperature", "max_new_tokens", "disable_dropout"}
    reading.taken |= {"teacher_model_init_kwargs", "teacher_model_init_kwargs.*"}
    return "gkd" if 0 < reading.number("beta", 0.5) < 1 else "kd"


def _on_policy(reading: Reading) -> str:
    """TRL's DistillationTrainer (trainer/distillation_config.py), whose student makes every completion."""
    reading.settings.pop("context", None)
    reading.refuse("max_completion_length", LENGTHS, unless="context")
    if reading.flag("use_vllm") and str(reading.get("vllm_mode", "colocate")) != "server":
        reading.refuse("use_vllm", "vLLM beside distillation on one GPU")
    reading.taken |= {"teacher_model_revision", "teacher_model_init_kwargs", "disable_dropout", *COMPLETION_KEYS}
    return "distill"


def rollouts(reading: Reading) -> None:
    """PPO by TRL's keys (experimental/ppo/ppo_config.py)."""
    if reading.get("sft_model_path") is not None and "model" not in reading.settings:
        reading.put("model", reading.get("sft_model_path"), "sft_model_path")
    if reading.get("reward_model_path") is not None:
        reading.put("reward_repo", reading.get("reward_model_path"), "reward_model_path")
    reading.take("completion_tokens", "response_length", 53)
    reading.take("mini_batch", "local_rollout_forward_batch_size", 64)
    reading.settings.pop("context", None)
    reading.refuse("max_prompt_length", LENGTHS, unless="context")
    reading.assume("checkpointing", "none", "PPOTrainer does not turn it on, whatever gradient_checkpointing says")
    reading.taken |= {"num_ppo_epochs", "num_mini_batches", "total_episodes", "num_sample_generations", "stop_token"}
    reading.taken |= {
        "stop_token_id",
        "temperature",
        "missing_eos_penalty",
        "whiten_rewards",
        "kl_coef",
        "kl_estimator",
    }
    reading.taken |= {"cliprange", "cliprange_value", "vf_coef", "gamma", "lam", "ds3_gather_for_generation"}
    if reading.number("num_mini_batches", 1) != 1:
        reading.notes.append("num_mini_batches: the optimizer steps more often; an update's sequences are as many")


def preferences(reading: Reading) -> str:
    """Where the reference model is, by TRL's keys."""
    reading.taken |= {
        "beta",
        "max_prompt_length",
        "label_smoothing",
        "loss_weights",
        "use_weighting",
        "disable_dropout",
    }
    reading.taken |= {
        "desirable_weight",
        "undesirable_weight",
        "simpo_gamma",
        "cpo_alpha",
        "center_rewards_coefficient",
    }
    reading.taken |= {"f_divergence_type", "f_alpha_divergence_coef", "ld_alpha", "discopop_tau", "reference_free"}
    reading.taken |= {"precompute_ref_batch_size", "sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"}
    if reading.flag("padding_free"):
        reading.notes.append(PADDED)
    if reading.flag("use_liger_loss"):
        reading.refuse("use_liger_loss", "Liger's loss over pairs")
    return "precomputed" if reading.flag("precompute_ref_log_probs") else "auto"


def completions(reading: Reading, name: str, before: str = "", share: str = "vllm_gpu_memory_utilization") -> None:
    """What GRPO's and RLOO's keys say of generation, of the reference model and of lengths.

    Args:
        before: a prefix of the keys: "trl." of Axolotl's.
        share: the key of vLLM's share of the GPU.
    """
    length = reading.whole(f"{before}max_completion_length", 256)
    reading.settings["completion_tokens"] = length
    prompt = reading.get(f"{before}max_prompt_length")
    if prompt is not None:
        reading.put("context", reading.whole(f"{before}max_prompt_length", 512) + length, f"{before}max_prompt_length")
    else:
        reading.settings.pop("context", None)
        reading.refuse(f"{before}max_prompt_length", LENGTHS, unless="context")
    beta = reading.number(f"{before}beta", 0.0 if name == "grpo" else 0.05)
    reading.settings["reference"] = "auto" if beta and name == "rloo" else "none" if not beta else "copy"
    if beta and name == "grpo":
        reading.settings["reference"] = (
            "adapters-off" if reading.settings.get("method") in ("lora", "qlora") else "copy"
        )
    if not reading.flag(f"{before}use_vllm"):
        reading.assume("generation", "generate", "use_vllm is not on")
        for key in ("steps_per_generation", "generation_batch_size"):
            if reading.get(f"{before}{key}") is not None:
                reading.refuse(f"{before}{key}", "completions of other than one optimizer step generated at once")
    elif str(reading.get(f"{before}vllm_mode", "colocate")) == "server":
        reading.put("generation", "server", f"{before}vllm_mode")
    elif reading.get(f"{before}vllm_device") is not None:  # TRL before 0.17: a GPU of its own
        reading.put("generation", "server", f"{before}vllm_device")
    else:
        asleep = reading.flag(f"{before}vllm_enable_sleep_mode")
        reading.put("generation", "colocated-sleep" if asleep else "colocated", f"{before}use_vllm")
        reading.take("vllm_gpu_memory_utilization", share, 0.3)
    if reading.flag(f"{before}use_liger_loss"):
        reading.refuse(f"{before}use_liger_loss", "Liger's loss over completions")
    reading.taken |= {f"{before}{key}" for key in COMPLETION_KEYS}


COMPLETION_KEYS = (
    *("num_generations", "num_iterations", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "loss_type"),
    *(
        "epsilon",
        "epsilon_high",
        "delta",
        "scale_rewards",
        "reward_weights",
        "reward_funcs",
        "importance_sampling_level",
    ),
    *("mask_truncated_completions", "log_completions", "num_completions_to_print", "generation_kwargs"),
    *("steps_per_generation", "generation_batch_size", "vllm_mode", "vllm_enable_sleep_mode", "vllm_model_impl"),
    *("vllm_server_host", "vllm_server_port", "vllm_server_timeout", "vllm_server_base_url", "vllm_max_model_length"),
    *(
        "vllm_gpu_memory_utilization",
        "vllm_importance_sampling_correction",
        "vllm_importance_sampling_mode",
        "use_bias_correction_kl",
        "cache_implementation",
    ),
    *("ds3_gather_for_generation", "shuffle_dataset", "disable_dropout", "normalize_advantages", "reward_clip_range"),
    *(
        "sync_ref_model",
        "ref_model_mixup_alpha",
        "ref_model_sync_steps",
        "top_entropy_quantile",
        "wandb_log_unique_prompts",
    ),
)
"""Keys of GRPO and RLOO that a step's memory does not depend on, or that are read with others."""
