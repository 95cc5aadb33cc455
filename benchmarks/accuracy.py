"""Our counts beside a real run and beside other formulas; writes docs/accuracy.md.

The oracle is a real forward and backward pass on the CPU with eager attention and
eager experts, every operation counted with the complete table of formulas. Nothing of
the oracle is known to the profile: it is solved from walks at other shapes.

    python benchmarks/accuracy.py            # all cases, a few minutes on two cores
"""

import contextlib
import copy
import importlib.util
import io
import sys
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from flops_magic.errors import FlopsMagicError
from flops_magic.flops.formulas import lora_pd, six_pd
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.profiler import profile_model
from flops_magic.profiling.scan_stubs import put_stand_ins

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))
HEAD = """# Accuracy

Written by `python benchmarks/accuracy.py`. Models of six layers, built at random; FLOP
of one forward and backward pass, with recomputation where the method checkpoints.
*Oracle*: a real run on the CPU with eager attention and experts, every operation
counted; scans of recurrent layers by the formulas of docs/method.md. The other columns
are deviations from it: Hugging Face's `total_flos` formula, 6·N·D, (4·N+2·T)·D, torch's
FlopCounterMode as it comes (FCM), on the default SDPA and grouped experts, and calflops
{calflops} and DeepSpeed {deepspeed}'s profiler, whose forward counts are taken three
times, as they do. – : that tool fails there, or is not installed. Not run on a GPU
yet: flash attention, bitsandbytes' kernels, inductor and NVML have tests in
`tests/gpu`, which wait for one.

{summary}

{columns}
|---|---|---|---|---|---|---|---|---|---|---|---|"""
COLUMNS = (
    "| model | method | shape | ours | oracle | ours | total_flos | 6ND | (4N+2T)D "
    "| FCM | calflops | DeepSpeed |"
)
BASE = {
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
MOE = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
ROUTED = {
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "topk_group": 1,
}
SSM = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
}
DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 32,
    "layer_types": ["linear_attention", "full_attention"] * 3,
}
FAMILIES = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {},
    "Mistral": {},
    "Gemma": {},
    "Gemma2": {},
    "Gemma3Text": {},
    "Phi": {},
    "Phi3": {},
    "Olmo2": {},
    "Olmo3": {},
    "GPTNeoX": {},
    "Cohere": {},
    "Cohere2": {},
    "Granite": {},
    "SmolLM3": {},
    "StableLm": {},
    "Starcoder2": {},
    "Glm4": {},
    "Exaone4": {},
    "Ernie4_5": {},
    "OPT": {"word_embed_proj_dim": 64, "ffn_dim": 128},
    "GPT2": {"n_embd": 64, "n_layer": 6, "n_head": 4, "n_positions": 128},
    "Mpt": {"d_model": 64, "n_layers": 6, "n_heads": 4},
    "Mixtral": MOE,
    "Qwen2Moe": {
        **MOE,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64,
    },
    "Qwen3Moe": {**MOE, "moe_intermediate_size": 32},
    "GptOss": MOE,
    "Olmoe": MOE,
    "GraniteMoe": MOE,
    "DeepseekV3": {
        **ROUTED,
        "n_group": 2,
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 16,
        "qk_nope_head_dim": 16,
        "v_head_dim": 16,
    },
    "Glm4Moe": {**ROUTED, "n_group": 1},
    "Lfm2": {},
    "MiniMax": MOE,
    "Bloom": {"hidden_size": 64, "n_layer": 6, "n_head": 4},
    "Dbrx": {
        "d_model": 64,
        "n_heads": 4,
        "n_layers": 6,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 5e5},
        "ffn_config": {
            "ffn_hidden_size": 128,
            "moe_num_experts": 4,
            "moe_top_k": 2,
        },
    },
    "Gemma4Text": {
        "global_head_dim": 32,
        "hidden_size_per_layer_input": 16,
        "vocab_size_per_layer_input": 256,
        "num_kv_shared_layers": 0,
    },
    "DebertaV2": {
        "architectures": ["DebertaV2ForSequenceClassification"],
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 32,
    },
    "Mamba": {"hidden_size": 64, "num_hidden_layers": 6, "state_size": 8},
    "Mamba2": {
        "hidden_size": 64,
        "num_hidden_layers": 6,
        "num_heads": 8,
        "head_dim": 16,
        "n_groups": 1,
        "state_size": 16,
    },
    "Bamba": {**SSM, "attn_layer_indices": [2]},
    "FalconH1": {**SSM, "mamba_d_ssm": 128},
    "GraniteMoeHybrid": {
        **SSM,
        **MOE,
        "layer_types": ["mamba", "attention"] * 3,
        "shared_intermediate_size": 64,
    },
    "Jamba": {
        **MOE,
        "mamba_d_state": 8,
        "use_mamba_kernels": False,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
    },
    "Qwen3Next": {
        **MOE,
        **DELTA,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    },
    "Qwen3_5Text": DELTA,
    "OlmoHybrid": DELTA,
    "RecurrentGemma": {"lru_width": 64},
}
OWN_NAMES = ("GPT2", "Mpt", "Bloom", "Dbrx", "Mamba", "Mamba2")
# their scan is counted by formula in the oracle, too; all else of it is a real run, and
# tests/profiling/test_scan_costs.py holds the formulas against the algorithms
SCANS = (
    "MiniMax",
    "Mamba",
    "Mamba2",
    "Bamba",
    "FalconH1",
    "GraniteMoeHybrid",
    "Jamba",
    "Qwen3Next",
    "Qwen3_5Text",
    "OlmoHybrid",
    "RecurrentGemma",
)
LORA = ("Llama", "Qwen3", "Gemma3Text", "Mistral", "Phi3", "GPTNeoX")


@dataclass
class Case:
    """One model, method and shape."""

    family: str
    method: str
    batch_size: int = 2
    seq_len: int = 40

    def config(self):
        cls = getattr(transformers, f"{self.family}Config")
        base = {"vocab_size": 256} if self.family in OWN_NAMES else BASE
        return cls(**base | FAMILIES[self.family])

    def model(self):
        config = self.config()
        build = transformers.AutoModelForCausalLM.from_config
        if config.architectures:
            build = getattr(transformers, config.architectures[0])._from_config
        model = build(config, attn_implementation="eager")
        with contextlib.suppress(AttributeError, ValueError):
            model.set_experts_implementation("eager")
        if self.method.startswith("lora"):
            from peft import LoraConfig, get_peft_model

            targets = "all-linear"
            if self.method == "lora q,v":
                targets = ["q_proj", "v_proj"]
            dora = self.method == "lora, DoRA"
            setup = LoraConfig(r=4, target_modules=targets, use_dora=dora)
            if self.method == "lora, last layer":
                setup.layers_to_transform = [5]
            model = get_peft_model(model, setup)
        if self.method == "top layers":
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(".4." in name or ".5." in name)
        if self.method == "checkpointing":
            model.gradient_checkpointing_enable({"use_reentrant": False})
        return model.train()


def cases():
    """Return every case: families in full, then methods and shapes."""
    # an older transformers has fewer families
    known = [f for f in FAMILIES if hasattr(transformers, f"{f}Config")]
    found = [Case(family, "full") for family in known]
    found += [Case(family, "lora all linears") for family in LORA]
    found += [
        Case("Llama", f"lora{more}") for more in (" q,v", ", DoRA", ", last layer")
    ]
    found += [Case(f, "top layers") for f in ("Llama", "Qwen3", "Gemma2")]
    found += [Case(f, "checkpointing") for f in ("Llama", "Qwen3", "Mistral")]
    found += [Case("Llama", "full", b, s) for b, s in ((1, 1), (1, 127), (5, 17))]
    return found


def real(model, batch_size, seq_len, counter):
    """Run forward and backward; return the counter's total."""
    ids = torch.randint(1, 255, (batch_size, seq_len))
    cacheless = {"use_cache": False} if getattr(model.config, "use_cache", 0) else {}
    with counter:
        model(input_ids=ids, **cacheless).logits.float().sum().backward()
    return counter


def calflops_count(model, ids):
    """Return calflops' forward count three times, as it takes backward for two."""
    from calflops import calculate_flops

    flops, _, _ = calculate_flops(
        model=model,
        kwargs={"input_ids": ids},
        include_backPropagation=True,
        print_results=False,
        output_as_string=False,
    )
    return flops


def deepspeed_count(model, ids):
    """Return the count of DeepSpeed's profiler three times; it sees forward only."""
    from deepspeed.profiling.flops_profiler import FlopsProfiler

    profiler = FlopsProfiler(model)
    profiler.start_profile()
    try:
        model(input_ids=ids, use_cache=False)
        return 3 * profiler.get_total_flops()
    finally:
        profiler.end_profile()


def counted_by(tool, model, batch_size, seq_len):
    """Return a peer's count; None where it fails or is not installed."""
    ids = torch.randint(1, 255, (batch_size, seq_len))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return tool(model, ids)
    except Exception:  # noqa: BLE001 a peer may raise anything; the table shows a dash
        return None


def installed(name):
    """Return a package's version for the head of the table."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def measure(case):
    """Return the figures of one case: ours, the oracle's, the others'."""
    torch.manual_seed(0)
    model = case.model()
    began = time.perf_counter()
    try:
        profile = profile_model(model)
    except FlopsMagicError as error:
        return {"refused": str(error).split(";")[0][:110]}
    shape = case.batch_size, case.seq_len
    ours = profile.training(*shape) + profile.recompute(*shape)
    took_s = time.perf_counter() - began
    counter = OperationCounter()
    run = copy.deepcopy(model)
    if case.family in SCANS:
        put_stand_ins(run)
    with angles_uncounted(run, counter):
        oracle = real(run, *shape, counter).flops
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    tokens = case.batch_size * case.seq_len
    base.set_attn_implementation("sdpa") if base._supports_sdpa else None
    with contextlib.suppress(AttributeError, ValueError):
        base.set_experts_implementation("grouped_mm")
    plain = None
    try:
        plain = real(model, *shape, FlopCounterMode(display=False)).get_total_flops()
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        plain = None  # that implementation does not run here
    return {
        "ours": ours,
        "oracle": oracle,
        "total_flos": 6 * tokens * base.num_parameters(exclude_embeddings=True),
        "6ND": six_pd(profile.parameters_total, tokens),
        "(4N+2T)D": lora_pd(
            profile.parameters_total, profile.parameters_trainable, tokens
        ),
        "plain": plain,
        "calflops": counted_by(calflops_count, model, *shape),
        "deepspeed": counted_by(deepspeed_count, model, *shape),
        "took_s": took_s,
        "unknown": (*profile.unknown_ops, *counter.unknown),
    }


def main():
    """Measure every case and write the table."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    lines, worst, counted, refused = [], 0.0, 0, 0
    for case in cases():
        found = measure(case)
        shape = f"{case.batch_size}×{case.seq_len}"
        name = f"| {case.family} | {case.method} | {shape} |"
        if "refused" in found:
            refused += 1
            lines.append(f"{name} refused: {found['refused']} | | | | | | | | |")
            print(lines[-1], flush=True)
            continue
        counted += 1
        oracle = found["oracle"]
        worst = max(worst, abs(found["ours"] / oracle - 1))

        def share(value, oracle=oracle):
            return "–" if value is None else f"{100 * (value / oracle - 1):+.1f} %"

        exact = "exact" if found["ours"] == oracle else share(found["ours"])
        others = " | ".join(
            share(found[key])
            for key in (
                "total_flos",
                "6ND",
                "(4N+2T)D",
                "plain",
                "calflops",
                "deepspeed",
            )
        )
        lines.append(f"{name} {found['ours']:,} | {oracle:,} | {exact} | {others} |")
        print(lines[-1], flush=True)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    summary = (
        f"{counted} cases counted, worst deviation {100 * worst:.4f} %; {refused} "
        f"refused. {versions}, Python {sys.version.split()[0]}."
    )
    peers = {name: installed(name) for name in ("calflops", "deepspeed")}
    head = [HEAD.format(columns=COLUMNS, summary=summary, **peers)]
    import two_inputs

    runs, held = two_inputs.table()
    if found_trl():
        import trained_runs

        more, all_held = trained_runs.table()
        runs, held = [*runs, *more], held and all_held
    (ROOT / "docs" / "accuracy.md").write_text("\n".join([*head, *lines, *runs]) + "\n")
    print(f"{counted} counted, {refused} refused, worst {100 * worst:.4f} %")
    return worst > 0.001 or not held


def found_trl():
    """Whether TRL, whose trainers the second table runs, is installed."""
    return importlib.util.find_spec("trl") is not None


if __name__ == "__main__":
    sys.exit(main())
