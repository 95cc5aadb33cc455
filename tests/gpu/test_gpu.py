"""What only a GPU can show. One command, no network: ``python -m pytest tests/gpu``.

Not run yet: no GPU was at hand when this was written. Each test says what it needs, and
is skipped by name without it.
"""

import importlib.util
import time

import pytest
import torch
import transformers

from flops_magic.attach import attach_to_trainers
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.nvml import NvmlPoller
from flops_magic.monitoring.trainer_patches import patched_trainers
from flops_magic.profiling.op_counter import OperationCounter
from flops_magic.profiling.profiler import profile_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
FAMILIES = ("Llama", "Qwen3", "Mistral", "Gemma2", "Mixtral", "Qwen3Moe", "GptOss")


def needs(package):
    found = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not found, reason=f"{package} is not installed")


def built(family="Llama", attention="eager", **changes):
    settings = {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "intermediate_size": 256,
        "moe_intermediate_size": 64,
        "num_local_experts": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "vocab_size": 512,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    config = getattr(transformers, f"{family}Config")(**settings | changes)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation=attention, dtype=torch.bfloat16
    )
    return model.to("cuda").train()


def ids(batch_size=2, seq_len=128):
    return torch.randint(1, 500, (batch_size, seq_len), device="cuda")


def ran(model, tokens):
    with OperationCounter() as counter:
        model(input_ids=tokens, use_cache=False).logits.float().sum().backward()
    assert not counter.unknown
    return counter


@pytest.mark.parametrize("family", FAMILIES)
def test_eager_attention_in_bf16_is_exact(family):
    model = built(family)
    assert profile_model(model).training(2, 128) == ran(model, ids()).flops


@pytest.mark.parametrize("family", ["Llama", "Qwen3", "Mistral"])
def test_flash_attention_costs_what_is_stated(family):
    """A fused backward multiplies five times, of which one is recomputation: counted by
    torch's formula, 2.5 forwards instead of our 2."""
    model = built(family, "sdpa")
    profile = profile_model(model)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        counter = ran(model, ids())
    pairs = profile.cost("forward").per_pair * 2 * 128 * 128
    assert counter.flops == profile.training(2, 128) + pairs // 2
    assert any("flash" in name for name in counter.by_operation)


@needs("flash_attn")
def test_the_flash_attn_package_is_counted_by_shape_not_by_operation():
    model = built("Llama", "flash_attention_2")
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        model(input_ids=ids(), use_cache=False).logits.float().sum().backward()
    assert run.record.flops.direct == profile_model(model).training(2, 128)
    assert run.record.gaps == ()


@pytest.mark.parametrize("fullgraph", [False, True])
def test_an_inductor_compiled_model_is_counted_and_keeps_its_graph(fullgraph):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = torch.compile(built("Llama", "sdpa"), fullgraph=fullgraph)
    with attach_to_trainers(model=model, original_flops="1e24") as run:
        for _ in range(3):
            model(input_ids=ids(), use_cache=False).logits.float().sum().backward()
    expected = 3 * profile_model(model).training(2, 128)
    assert run.record.flops.direct == expected
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@needs("bitsandbytes")
@needs("peft")
def test_four_bit_weights_with_adapters_are_exact(tmp_path):
    from peft import LoraConfig, get_peft_model

    built().save_pretrained(tmp_path)
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path,
        quantization_config=config,
        attn_implementation="eager",
        device_map={"": 0},
    )
    plain = sum(p.numel() for p in built().parameters())
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    profile = profile_model(model)
    assert profile.parameters_total - profile.parameters_trainable == plain
    assert profile.training(2, 128) == ran(model.train(), ids()).flops


def test_the_hook_does_not_wait_for_the_device():
    """Under ``error`` whatever synchronises raises; packed and masked passes too."""
    model = built("Llama", "sdpa")
    tokens = ids()
    places = torch.arange(64, device="cuda").repeat(2)[None].expand(2, -1).contiguous()
    meter = TrainerMeter()
    with patched_trainers(meter):
        monitor = meter.registry.adopt(model, role="trained")
        monitor.price()
        with meter.purpose("train"):
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
            try:
                for more in (
                    {},
                    {"attention_mask": torch.ones_like(tokens)},
                    {"position_ids": places},
                ):
                    with monitor.compiled_pass((), {"input_ids": tokens, **more}):
                        pass  # counted, and not run
            finally:
                torch.cuda.set_sync_debug_mode("default")
            meter.read_device()
    assert meter.gaps == []
    shapes = {row.shape: row.total for row in meter.models()[0].histogram}
    assert shapes["2x128"].calls == 2
    assert shapes["packed"].pairs == 2 * 2 * 64 * 64


def test_nvml_reads_this_device():
    poller = NvmlPoller()
    poller.start()
    model, tokens = built(), ids(8, 256)
    until_s = time.monotonic() + 3
    while time.monotonic() < until_s:
        model(input_ids=tokens).logits.sum().backward()
    torch.cuda.synchronize()
    found = poller.stop()
    (device, *_) = found["devices"]
    assert device["name"] in torch.cuda.get_device_name(0)
    assert device["uuid"].startswith(("GPU-", "MIG-"))


def test_the_meter_takes_less_than_two_per_cent_of_a_step():
    model = built("Llama", "sdpa", hidden_size=1024, intermediate_size=4096)
    tokens = ids(4, 512)

    def median_s():
        times_s = []
        for _ in range(60):
            torch.cuda.synchronize()
            began_s = time.perf_counter()
            model(input_ids=tokens).logits.float().sum().backward()
            torch.cuda.synchronize()
            times_s.append(time.perf_counter() - began_s)
        return sorted(times_s[10:])[25]  # after the first steps, which profile

    without_s = median_s()
    with attach_to_trainers(model=model, original_flops="1e24"):
        with_s = median_s()
    assert with_s < 1.02 * without_s
