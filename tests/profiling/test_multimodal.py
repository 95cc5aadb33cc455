"""Images and sound before training: their towers cost what a real run of them costs."""

import pytest
import transformers

from flops_magic.errors import InputError, UnsupportedModelError
from flops_magic.estimation.estimator import estimate
from flops_magic.profiling.media import Media, parse_media
from flops_magic.profiling.multimodal import profile_with_media
from flops_magic.profiling.profiler import profile_model
from tests.monitoring.passes.test_hybrid_counter import B, S, image_rows, llava, oracle

V5 = int(transformers.__version__.split(".")[0]) >= 5


def qwen_vl():
    text = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "vocab_size": 256,
        "max_position_embeddings": 256,
    }
    rope = "rope_parameters" if V5 else "rope_scaling"
    vision = {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": 64,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 14,
    }
    return transformers.Qwen2VLConfig(
        text_config={
            **text,
            rope: {"rope_type": "default", "mrope_section": [2, 3, 3]},
        },
        vision_config=vision,
        architectures=["Qwen2VLForConditionalGeneration"],
    )


def test_a_sequence_with_an_image_costs_what_a_real_step_costs():
    profile = profile_with_media(llava(), Media(images=1))
    assert profile.training(B, S) == oracle(llava(), [image_rows(B)])


def test_a_clip_tower_by_hand():
    """5 positions (4 patches and the class), d 32, ffn 64; the projector 32→64→64."""
    model = llava()
    text = profile_model(model).forward(B, S)
    patches = 2 * 4 * 3 * 14 * 14 * 32
    layer = 5 * 2 * (4 * 32 * 32 + 2 * 32 * 64) + 4 * 32 * 5 * 5
    projector = 2 * 4 * (32 * 64 + 64 * 64)
    with_image = profile_with_media(model, Media(images=1)).forward(B, S)
    assert with_image - text == B * (patches + 2 * layer + projector)


def test_images_of_any_size_are_cut_into_patches():
    """Qwen2-VL: 14-pixel patches, merged two by two; depth 2, d 32, ffn 64."""

    def tower(height, width):
        media = Media(images=1, image_size=(height, width))
        whole = profile_with_media(qwen_vl(), media).forward(1, 8)
        return whole - profile_model(qwen_vl()).forward(1, 8)

    def by_hand(patches):
        embedded = 2 * patches * 3 * 2 * 14 * 14 * 32
        layer = 2 * patches * (4 * 32 * 32 + 2 * 32 * 64) + 4 * 32 * patches**2
        merged = 2 * patches // 4 * (128 * 128 + 128 * 64)
        return embedded + 2 * layer + merged

    assert tower(56, 84) == by_hand(4 * 6)
    assert tower(112, 112) == by_hand(8 * 8)
    assert tower(60, 80) == tower(56, 84)  # rounded to whole merged patches


def test_a_frozen_tower_costs_no_backward_pass():
    model = llava()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("vision_tower" not in name)
    profile = profile_with_media(model, Media(images=1))

    def frozen():
        again = llava()
        for name, parameter in again.named_parameters():
            parameter.requires_grad_("vision_tower" not in name)
        return again

    assert profile.training(B, S) == oracle(frozen(), [image_rows(B)])


def test_an_estimate_without_images_says_that_it_is_of_text_alone():
    asked = {"tokens": "1k", "seq_len": 32, "methods": ["full"]}
    text = estimate(llava().config, **asked)
    assert "text alone" in str(text)
    seen = estimate(llava().config, **asked, images=2)
    assert "text alone" not in str(seen)
    assert "2 image(s)" in str(seen)
    assert seen["full"].flops.direct > text["full"].flops.direct


def test_images_of_a_model_that_sees_none_are_refused():
    config = transformers.LlamaConfig(num_hidden_layers=1, vocab_size=64)
    asked = {"tokens": 64, "seq_len": 32, "methods": ["full"], "images": 1}
    with pytest.raises(UnsupportedModelError, match="no get_image_features"):
        estimate(config, **asked)


def test_a_size_is_asked_for_where_the_tower_takes_any():
    with pytest.raises(InputError, match="--image-size"):
        profile_with_media(qwen_vl(), Media(images=1))


@pytest.mark.parametrize(
    ("typed", "media"),
    [
        ((None, None, None), Media()),
        ((2, "896x672", None), Media(2, (896, 672))),
        ((1, "336", 0), Media(1, (336, 336))),
        ((0, None, 61), Media(audio_windows=3)),
    ],
)
def test_images_and_sound_are_read_as_typed(typed, media):
    assert parse_media(*typed) == media
    assert bool(media) is (media != Media())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((1, "large", None), "HEIGHTxWIDTH"),
        ((1, "0x9", None), "HEIGHTxWIDTH"),
        ((None, "336", None), "--images 1"),
        ((-1, None, None), "0 or more"),
    ],
)
def test_what_is_no_image_says_how_to_write_one(typed, said):
    with pytest.raises(InputError, match=said):
        parse_media(*typed)


def test_an_encoder_decoder_is_estimated_by_source_and_target():
    config = transformers.T5Config(
        d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, vocab_size=256
    )
    asked = {"tokens": 40 * 24, "seq_len": 24, "methods": ["full"]}
    with pytest.raises(InputError, match="--target-len"):
        estimate(config, **asked)
    found = estimate(config, **asked, target_len=10)
    profile = profile_model(config)
    assert found["full"].flops.direct == 40 * profile.training(1, 24, 10)
    assert found.tokens == 40 * (24 + 10)
    with pytest.raises(InputError, match="one length"):
        profile_model(llava()).forward(1, 8, 4)


def test_a_speech_model_hears_a_window_a_row():
    """Whisper: convolutions over 200 and 100 frames, d 64, ffn 128, two layers each."""
    config = transformers.WhisperConfig(
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        vocab_size=256,
        num_mel_bins=16,
        max_source_positions=100,
        max_target_positions=64,
        pad_token_id=0,
        architectures=["WhisperForConditionalGeneration"],
    )
    heard, said = 100, 10
    convolutions = 2 * 3 * 64 * (200 * 16 + heard * 64)
    encoder = 2 * (2 * heard * (4 * 64 * 64 + 2 * 64 * 128) + 4 * 64 * heard**2)
    of_the_source = 2 * 2 * heard * 2 * 64 * 64
    decoder = 2 * (2 * said * (6 * 64 * 64 + 2 * 64 * 128))
    attention = 2 * 4 * 64 * (said**2 + said * heard)
    head = 2 * said * 64 * 256
    forward = convolutions + encoder + of_the_source + decoder + attention + head
    assert profile_model(config).forward(1, said) == forward
