"""Models with images, and with two lengths: nothing of them is counted as text alone.

The oracle is the whole training step, run a second time under the operation counter
with eager attention: forward, backward, everything.
"""

import pytest
import torch
import transformers
from transformers import Trainer

from flops_magic.attach import attach_to_trainers
from flops_magic.evidence.record import AuditRecord
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.profiler import profile_model
from tests import tiny

B, S, T = 2, 24, 10
ENCODER_DECODER = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": 256,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}


def bart():
    config = transformers.BartConfig(**ENCODER_DECODER)
    return transformers.BartForConditionalGeneration._from_config(
        config, attn_implementation="eager"
    ).train()


def t5():
    config = transformers.T5Config(
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        vocab_size=256,
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration._from_config(
        config, attn_implementation="eager"
    ).train()


def llava():
    """Images of 28 × 28 in patches of 14: four of them, and four places in the text."""
    config = transformers.LlavaConfig(
        text_config=tiny.config(),
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=28,
            patch_size=14,
        ),
        image_token_id=255,
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    return transformers.LlavaForConditionalGeneration._from_config(
        config, attn_implementation="eager"
    ).train()


def text_rows(count, length=S):
    generator = torch.Generator().manual_seed(count)
    ids = torch.randint(3, 250, (count, length), generator=generator)
    return [{"input_ids": row, "labels": row} for row in ids]


def image_rows(count):
    rows = text_rows(count)
    for row in rows:
        row["input_ids"] = row["input_ids"].clone()
        row["input_ids"][2:6] = 255
        row["pixel_values"] = torch.zeros(3, 28, 28)
    return rows


def pairs(count, source=S, target=T):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 250, (count, source + target), generator=generator)
    return [
        {
            "input_ids": row[:source],
            "attention_mask": (torch.arange(source) < source - 3).long(),
            "labels": torch.where(
                torch.arange(target) < target - 1, row[source:], -100
            ),
        }
        for row in ids
    ]


def oracle(model, batches):
    """FLOPs of the training passes of these batches, from a real run."""
    counter = OperationCounter()
    # transformers 4 writes the angles of rotary embeddings as a product
    with counter, angles_uncounted(model, counter):
        for rows in batches:
            batch = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
            model(**batch).loss.backward()
    return counter.flops


def trained(model, rows, folder, **changes) -> AuditRecord:
    steps = len(rows) // B
    arguments = tiny.arguments(
        folder, max_steps=steps, remove_unused_columns=False, **changes
    )
    trainer = Trainer(model, arguments, train_dataset=rows)
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(rows)
    with attach_to_trainers(original_flops="3e23") as run:
        trainer.train()
    return run.record


def in_batches(rows):
    return [rows[i : i + B] for i in range(0, len(rows), B)]


@pytest.mark.parametrize("make", [bart, t5])
def test_source_and_target_are_counted_by_their_own_lengths(make, tmp_path):
    model, rows = make(), [*pairs(4), *pairs(4, 9, 17)]
    record = trained(model, rows, tmp_path)
    expected = oracle(make(), in_batches(rows))
    assert not record.gaps
    assert record.flops.direct == expected
    profile = record.models[0].profile
    assert expected == 2 * (profile.training(B, S, T) + profile.training(B, 9, 17))
    # a profile does it: no cost by shape
    assert not any("@" in name for name in profile.costs)
    assert record.computed_flops() == record.flops
    # of S + T positions, 3 and 1 are padding
    assert record.models[0].tokens_non_padding == 4 * (S + T - 4) + 4 * (9 + 17 - 4)


def test_a_small_bart_by_hand():
    """2·T·a·b a linear, 4·d·pairs an attention; d 64, ffn 128, vocabulary 256."""
    profile = profile_model(bart())
    per_encoder_layer = 2 * (4 * 64 * 64 + 2 * 64 * 128)
    # q, k, v, o of its own, q and o towards the source; k and v of the source
    per_decoder_layer = 2 * (6 * 64 * 64 + 2 * 64 * 128)
    keys_of_the_source = 2 * (2 * 64 * 64)
    source = 2 * (per_encoder_layer + keys_of_the_source)
    target = 2 * per_decoder_layer + 2 * 64 * 256
    attention = 2 * 4 * 64 * (S * S + T * T + S * T)
    forward = B * (S * source + T * target + attention)
    assert profile.forward(B, S, T) == forward
    assert profile.backward(B, S, T) == 2 * forward


def test_generation_counts_the_encoder_that_runs_on_its_own():
    model = bart()
    ids = torch.stack([row["input_ids"] for row in pairs(2)])
    asked = {"input_ids": ids, "max_new_tokens": 4, "do_sample": False}
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        model(input_ids=ids, labels=ids).loss.backward()
        model.eval()
        model.generate(**asked)
    with OperationCounter() as counter:
        model.generate(**asked)
    assert run.record.flops.rollout == counter.flops
    # the encoder's share alone: two rows, two layers
    assert counter.flops > 2 * S * 2 * 2 * (4 * 64 * 64 + 2 * 64 * 128)


def test_images_are_counted_with_the_tower_and_text_without(tmp_path):
    rows = [*image_rows(4), *text_rows(4), *image_rows(2)]
    record = trained(llava(), rows, tmp_path)
    expected = oracle(llava(), in_batches(rows))
    assert not record.gaps
    assert record.flops.direct == expected
    assert record.computed_flops() == record.flops
    text = profile_model(llava()).training(B, S)
    assert expected > 5 * text  # three of five batches carry images
    assert any("cost beside it was counted live" in line for line in record.assumptions)


def test_a_frozen_tower_has_no_backward_pass(tmp_path):
    def frozen():
        model = llava()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("vision_tower" not in name)
        return model

    rows = image_rows(4)
    record = trained(frozen(), rows, tmp_path)
    assert record.flops.direct == oracle(frozen(), in_batches(rows))
    assert record.flops.direct < trained(llava(), rows, tmp_path).flops.direct


def test_text_of_many_lengths_on_a_model_with_a_tower_stays_exact(tmp_path):
    model = llava()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    lengths = range(1, 301)  # more than are told apart live
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        for length in lengths:
            ids = torch.full((1, length % 100 + 1), 7)
            model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    assert not run.record.gaps
    profile = profile_model(llava())
    expected = sum(profile.training(1, n % 100 + 1) for n in lengths)
    assert run.record.flops.direct == expected


def test_gradient_accumulation_of_images_and_text(tmp_path):
    rows = [*image_rows(2), *text_rows(2), *image_rows(2), *text_rows(2)]
    arguments = tiny.arguments(
        tmp_path,
        max_steps=2,
        gradient_accumulation_steps=2,
        remove_unused_columns=False,
    )
    trainer = Trainer(llava(), arguments, train_dataset=rows)
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(rows)
    with attach_to_trainers(original_flops="3e23") as run:
        trainer.train()
    assert run.record.flops.direct == oracle(llava(), in_batches(rows))


def with_media_and_text(model, lengths, optimizer=None):
    """One image with texts of these lengths, a backward pass each."""
    for length in lengths:
        ids = torch.full((1, length), 7)
        ids[0, 1:5] = 255
        pixels = torch.zeros(1, 3, 28, 28)
        model(input_ids=ids, pixel_values=pixels, labels=ids).loss.backward()


def test_images_beside_texts_of_any_length_are_split(tmp_path):
    model = llava()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    lengths = [5 + n % 100 for n in range(300)]
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        with_media_and_text(model, lengths)
        optimizer.step()
    assert not run.record.gaps
    other = llava()
    with OperationCounter() as counter, angles_uncounted(other, counter):
        with_media_and_text(other, range(5, 105))
    assert run.record.flops.direct == 3 * counter.flops
    (use,) = run.record.models
    assert {row.shape.split(" ~")[0] for row in use.histogram} == {
        "text with media",
        "media",
    }


def only_the_projector(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("multi_modal_projector" in name)
    return model


def with_lora(model):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config, autocast_adapter_dtype=False)


@pytest.mark.parametrize("trained_part", [only_the_projector, with_lora])
def test_a_tower_that_trains_reaches_through_a_frozen_text(trained_part):
    model, other = trained_part(llava()), trained_part(llava())
    trains = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trains, lr=1e-4)
    lengths = (9, 20, 33)
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        with_media_and_text(model, lengths)
        optimizer.step()
    with OperationCounter() as counter, angles_uncounted(other, counter):
        with_media_and_text(other, lengths)
    assert not run.record.gaps
    assert run.record.flops.direct == counter.flops
    assert run.record.computed_flops() == run.record.flops


def test_text_and_image_that_share_a_backward_pass_are_told_apart():
    def steps(model):
        with_media_and_text(model, (12,))
        for length in (10, 20):
            ids = torch.full((1, length), 7)
            text = model(input_ids=ids, labels=ids).loss
            seen = ids.clone()
            seen[0, 1:5] = 255
            pixels = torch.zeros(1, 3, 28, 28)
            image = model(input_ids=seen, pixel_values=pixels, labels=ids).loss
            (text + image).backward()

    model, other = llava(), llava()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        steps(model)
        optimizer.step()
    with OperationCounter() as counter, angles_uncounted(other, counter):
        steps(other)
    assert not run.record.gaps
    assert run.record.flops.direct == counter.flops


def test_a_first_pass_without_gradients_leaves_the_text_its_backward_pass():
    model, other = only_the_projector(llava()), only_the_projector(llava())
    trains = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trains, lr=1e-4)
    ids = torch.full((1, 8), 7)
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        with torch.no_grad():
            model(input_ids=ids)
        with_media_and_text(model, (9, 30))
        optimizer.step()
    with OperationCounter() as counter, angles_uncounted(other, counter):
        with_media_and_text(other, (9, 30))
    assert run.record.flops.direct == counter.flops


def test_prompts_that_are_made_outside_of_an_encoder_decoder_are_counted():
    from peft import PromptEncoderConfig, get_peft_model

    def tuned():
        torch.manual_seed(0)
        config = PromptEncoderConfig(
            task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4, encoder_hidden_size=32
        )
        return get_peft_model(t5(), config)

    ids = torch.full((2, 12), 7)

    def step(model):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)[
            "loss"
        ].backward()

    model, other = tuned(), tuned()
    trains = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trains, lr=1e-4)
    with attach_to_trainers(model=model, original_flops="3e23") as run:
        step(model)
        optimizer.step()
    with OperationCounter() as counter:
        step(other)
    assert not run.record.gaps
    assert run.record.flops.direct == counter.flops
