"""Encoder-decoders and models that see: our profile beside a real run of them.

python benchmarks/two_inputs.py          # a minute on two cores
"""

import sys
import warnings

import torch
import transformers

from flops_magic.errors import FlopsMagicError
from flops_magic.profiling.media import Media
from flops_magic.profiling.multimodal import profile_with_media
from flops_magic.profiling.op_counter import OperationCounter, angles_uncounted
from flops_magic.profiling.profiler import profile_model

B, S, T = 2, 40, 23  # rows, positions of source (or text), of target
HEAD = """
## Two lengths, and images

Written with the table above by `benchmarks/two_inputs.py`: FLOP of one forward and
backward pass on {B} rows, of {S} source and {T} target positions, or of {S} positions
of text with one image each. *Oracle* as above.

| model | ours | oracle | ours |
|---|---|---|---|"""
BART = {
    "d_model": 64,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": 256,
    "max_position_embeddings": 256,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "bos_token_id": 0,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    # a layer that is left out at random is counted; the oracle must not leave it out
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
}
T5 = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 6,
    "num_heads": 4,
    "vocab_size": 256,
    "decoder_start_token_id": 0,
}
TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 128,
}
TOWER = {
    "hidden_size": 32,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 28,
    "patch_size": 14,
}
ENCODER_DECODERS = {
    "T5": T5,
    "MT5": T5,
    "UMT5": T5,
    "Bart": BART,
    "MBart": BART,
    "Pegasus": BART,
    "PegasusX": BART,
    "Marian": BART,
    "Blenderbot": BART,
    "M2M100": BART,
    "PLBart": BART,
    "Mvp": BART,
    "BigBirdPegasus": BART,
}


def encoder_decoders():
    """Yield name, our count and the oracle's."""
    for name, sizes in ENCODER_DECODERS.items():
        config = getattr(transformers, f"{name}Config")(**sizes)
        cls = transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[type(config)]
        config.architectures = [cls.__name__]
        model = cls._from_config(config, attn_implementation="eager").train()
        inputs = {
            "input_ids": torch.randint(3, 200, (B, S)),
            "decoder_input_ids": torch.randint(3, 200, (B, T)),
            "use_cache": False,
        }
        yield name, lambda c=config: profile_model(c).training(B, S, T), model, inputs


def models_that_see():
    """Yield the same of models with one image a row."""
    text, tower = (
        transformers.LlamaConfig(**TEXT),
        transformers.CLIPVisionConfig(**TOWER),
    )
    llava = transformers.LlavaConfig(
        text_config=text,
        vision_config=tower,
        image_token_id=255,
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    pali = transformers.PaliGemmaConfig(
        text_config=transformers.GemmaConfig(**TEXT, head_dim=16),
        vision_config=transformers.SiglipVisionConfig(**TOWER),
        image_token_id=255,
        projection_dim=64,
        hidden_size=64,
    )
    ids = torch.full((B, S), 7)
    ids[:, 2:6] = 255
    pixels = torch.zeros(B, 3, 28, 28)
    for name, config in (("Llava", llava), ("PaliGemma", pali)):
        cls = getattr(transformers, f"{name}ForConditionalGeneration")
        config.architectures = [cls.__name__]
        model = cls._from_config(config, attn_implementation="eager").train()
        inputs = {"input_ids": ids, "pixel_values": pixels, "use_cache": False}
        if name == "PaliGemma":
            inputs |= {"token_type_ids": torch.zeros_like(ids), "labels": ids}
            inputs["attention_mask"] = torch.ones_like(ids)

        def ours(config=config):
            return profile_with_media(config, Media(images=1)).training(B, S)

        yield f"{name}, one image a row", ours, model, inputs


def oracle(model, inputs):
    counter = OperationCounter()
    with counter, angles_uncounted(model, counter):
        model(**inputs).logits.sum().backward()
    return counter.flops


def table():
    """Return the table's lines, and whether every case is exact."""
    lines, held = [HEAD.format(B=B, S=S, T=T)], True
    for name, ours, model, inputs in (*encoder_decoders(), *models_that_see()):
        real = oracle(model, inputs)
        try:
            mine = ours()
        except FlopsMagicError as error:
            lines.append(f"| {name} | refused: {str(error)[:100]} | {real:,} | |")
            continue
        deviation = "exact" if mine == real else f"{100 * (mine - real) / real:+.4f} %"
        held &= abs(mine - real) <= real / 1000
        lines.append(f"| {name} | {mine:,} | {real:,} | {deviation} |")
    return lines, held


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    rows, all_held = table()
    print("\n".join(rows))
    sys.exit(not all_held)
