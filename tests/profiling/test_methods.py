"""Every fine-tuning method, trained by a real Trainer, equals a real run's count."""

import pytest
import torch
import transformers
from transformers import Trainer

from flops_magic.errors import InputError
from flops_magic.monitoring.meter import TrainerMeter
from flops_magic.monitoring.trainer_patches import patched_trainers
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.profiler import profile_model
from tests import tiny

peft = pytest.importorskip("peft")
Q = {"target_modules": ["q_proj"]}
VIRTUAL = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 5}
METHODS = {
    "rsLoRA": peft.LoraConfig(r=4, use_rslora=True, target_modules="all-linear"),
    "DoRA": peft.LoraConfig(r=4, use_dora=True, **Q),
    "head saved": peft.LoraConfig(r=4, modules_to_save=["lm_head"], **Q),
    "embeddings saved": peft.LoraConfig(r=4, modules_to_save=["embed_tokens"], **Q),
    "embeddings adapted": peft.LoraConfig(
        r=4, target_modules=["q_proj", "embed_tokens"]
    ),
    "tokens trained": peft.LoraConfig(r=4, trainable_token_indices=[1, 2], **Q),
    "one layer": peft.LoraConfig(r=4, layers_to_transform=[3], **Q),
    "IA3": peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "VeRA": peft.VeraConfig(r=4, **Q),
    "LoHa": peft.LoHaConfig(r=4, **Q),
    "prompt": peft.PromptTuningConfig(**VIRTUAL),
    "prefix": peft.PrefixTuningConfig(**VIRTUAL),
    "p-tuning": peft.PromptEncoderConfig(encoder_hidden_size=16, **VIRTUAL),
}


@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_a_peft_method_equals_a_real_run(config, tmp_path):
    torch.manual_seed(0)
    model = peft.get_peft_model(tiny.llama(num_hidden_layers=5), config).train()
    batch = {key: value[None].repeat(2, 1) for key, value in tiny.rows(1)[0].items()}
    with OperationCounter() as oracle, angles_uncounted(model, oracle):
        model(**batch).loss.backward()
    assert not oracle.unknown
    meter = TrainerMeter()
    with patched_trainers(meter):
        Trainer(
            model, tiny.arguments(tmp_path, max_steps=2), train_dataset=tiny.rows()
        ).train()
    assert meter.flops().direct == 2 * oracle.flops
    assert meter.gaps == []


BERT = {
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


def test_an_encoder_takes_adapters():
    """peft's wrapper for language models asks for a method that encoders lack."""
    config = transformers.BertConfig(**BERT)
    found = profile_model(config, method="lora", lora_rank=4)
    # rank 4 on q, k, v, o (64 × 64), both of the MLP (64 × 128), in 6 layers, and the
    # head's transform (64 × 64)
    layer = 4 * (64 + 64) + 2 * (64 + 128)
    assert found.parameters_trainable == 4 * (6 * layer + 64 + 64)


HEADS = (
    ("BertForSequenceClassification", "BertConfig"),
    ("BertForMaskedLM", "BertConfig"),
    ("BertForTokenClassification", "BertConfig"),
    ("RobertaForSequenceClassification", "RobertaConfig"),
    ("ModernBertForMaskedLM", "ModernBertConfig"),
    ("LlamaForSequenceClassification", "LlamaConfig"),
    ("Qwen2ForTokenClassification", "Qwen2Config"),
)


@pytest.mark.parametrize(("name", "config"), HEADS, ids=[name for name, _ in HEADS])
def test_encoders_and_classification_heads_equal_a_real_run(name, config):
    settings = getattr(transformers, config)(**BERT)
    model = getattr(transformers, name)._from_config(
        settings, attn_implementation="eager"
    )
    model.train()
    ids = torch.randint(1, 255, (2, 40))
    with OperationCounter() as oracle, angles_uncounted(model, oracle):
        out = model(input_ids=ids)
        forward = oracle.flops
        out.logits.float().sum().backward()
    profile = profile_model(model)
    assert (profile.forward(2, 40), profile.training(2, 40)) == (forward, oracle.flops)


def test_a_configuration_that_names_its_class_is_built_as_that_class():
    settings = transformers.BertConfig(
        architectures=["BertForTokenClassification"], **BERT
    )
    assert profile_model(settings).model_class == "BertForTokenClassification"


def test_the_yaml_that_spectrum_writes_names_what_trains(tmp_path):
    path = tmp_path / "snr_results.yaml"
    path.write_text(
        "unfrozen_parameters:\n- ^lm_head.weight$\n# mlp.down_proj layers\n"
        "- model.layers.1.mlp.down_proj\n"
    )
    from_yaml = profile_model(tiny.config(), method="spectrum", trainable=[str(path)])
    by_hand = profile_model(
        tiny.config(),
        method="spectrum",
        trainable=["^lm_head.weight$", "model.layers.1.mlp.down_proj"],
    )
    assert from_yaml == by_hand
    assert from_yaml.parameters_trainable == 64 * 256 + 64 * 128


@pytest.mark.parametrize("text", ["[]", "a: 1", "unfrozen_parameters: 3", "{{{"])
def test_another_yaml_is_answered_in_one_line(tmp_path, text):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="unfrozen_parameters") as caught:
        profile_model(tiny.config(), method="spectrum", trainable=[str(path)])
    assert "\n" not in str(caught.value)


def test_a_broken_pattern_is_answered_in_one_line():
    with pytest.raises(InputError, match="cannot read pattern"):
        profile_model(tiny.config(), method="spectrum", trainable=["layers.(1"])


ENCODERS = {
    "Bert": {},
    "Electra": {"embedding_size": 64},
    "DistilBert": {"dim": 64, "n_layers": 6, "n_heads": 4, "hidden_dim": 128},
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.filterwarnings("ignore")
def test_an_encoder_takes_adapters_by_its_configuration(name):
    """They generate nothing, which peft's wrapper for language models asks for."""
    sizes = {k: v for k, v in BERT.items() if k != "num_key_value_heads"}
    config = getattr(transformers, f"{name}Config")(
        **{**({} if name == "DistilBert" else sizes), "vocab_size": 256},
        **ENCODERS[name],
    )
    setup = peft.LoraConfig(r=4, target_modules="all-linear")
    cls = getattr(transformers, f"{name}ForMaskedLM")
    bare = cls._from_config(config, attn_implementation="eager")
    model = peft.get_peft_model(bare, setup).train()
    ids = torch.ones(2, 32, dtype=torch.long)
    with OperationCounter() as oracle:
        model(input_ids=ids, labels=ids).loss.backward()
    profile = profile_model(config, method="lora", lora_rank=4)
    assert profile.training(2, 32) == oracle.flops
    assert profile.method == "lora"
