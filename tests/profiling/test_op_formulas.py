"""Operations that torch's counter calls 0, each beside a count made by hand."""

import pytest
import torch
from torch import nn

from flops_magic.profiling.op_counter import OperationCounter

T, B, D, H = 5, 3, 8, 16  # time, batch, input, hidden


def counted(run):
    counter = OperationCounter()
    with counter:
        run()
    assert not counter.unknown
    return counter.flops


def gates(count, *, directions=1, hidden=H, state=H):
    """W_ih (gates·h, i) and W_hh (gates·h, state) meet each of T·B positions."""
    return directions * 2 * T * B * count * hidden * (D + state)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.LSTM(D, H), gates(4)),
        (nn.GRU(D, H), gates(3)),
        (nn.RNN(D, H), gates(1)),
        (nn.LSTM(D, H, bidirectional=True), gates(4, directions=2)),
        (nn.LSTM(D, H, num_layers=2), gates(4) + 2 * T * B * 4 * H * (H + H)),
        # the state is projected from 16 to 4: W_hh (64, 4), W_hr (4, 16)
        (nn.LSTM(D, H, proj_size=4), gates(4, state=4) + 2 * T * B * 4 * H),
    ],
    ids=["LSTM", "GRU", "RNN", "both ways", "two layers", "projected"],
)
def test_every_position_meets_every_matrix_of_a_recurrent_layer(layer, expected):
    assert counted(lambda: layer(torch.ones(T, B, D))) == expected


def test_a_recurrent_layer_costs_twice_as_much_backward():
    layer, x = nn.LSTM(D, H), torch.ones(T, B, D, requires_grad=True)
    forward = counted(lambda: layer(x))
    both = counted(lambda: layer(x)[0].sum().backward())
    assert both == 3 * forward


def test_a_packed_recurrent_layer_computes_no_padding():
    packed = nn.utils.rnn.pack_padded_sequence(torch.ones(T, B, D), [5, 3, 2])
    assert counted(lambda: nn.LSTM(D, H)(packed)) == gates(4) * (5 + 3 + 2) // (T * B)


def test_the_gates_of_a_cell_are_element_wise():
    cell = nn.LSTMCell(D, H)
    assert counted(lambda: cell(torch.ones(B, D))) == 2 * B * 4 * H * (D + H)


def test_a_fused_encoder_layer_costs_what_its_parts_do():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    x = torch.ones(2, 5, 16)
    with torch.no_grad():
        fused = counted(lambda: layer(x))
    # qkv 3·16², output 16², feed-forward 2·16·32 a position; 4·16 a pair of positions
    assert fused == 2 * 10 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 5 * 5 * 4 * 16
    assert counted(lambda: layer.train()(x)) == fused


def test_fused_attention_without_gradients_costs_what_it_does_with_them():
    layer = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.ones(2, 5, 16)
    with torch.no_grad():
        fused = counted(lambda: layer(x, x, x, need_weights=False))
    assert fused == 2 * 10 * 4 * 16 * 16 + 2 * 5 * 5 * 4 * 16
    assert counted(lambda: layer(x, x, x, need_weights=False)) == fused


def test_a_bilinear_layer_costs_two_products_an_entry():
    layer = nn.Bilinear(3, 4, 5)
    expected = 4 * 2 * 5 * 3 * 4
    assert counted(lambda: layer(torch.ones(2, 3), torch.ones(2, 4))) == expected


def test_a_fourier_transform_costs_five_n_log_n():
    x = torch.ones(4, 32)
    whole = 4 * 5 * 32 * 5
    assert counted(lambda: torch.fft.fft(x.to(torch.complex64))) == whole
    assert counted(lambda: torch.fft.rfft(x)) == whole // 2
    assert counted(lambda: torch.fft.irfft(torch.fft.rfft(x))) == whole
    assert counted(lambda: torch.fft.fft2(torch.ones(4, 8, 8) + 0j)) == 4 * 5 * 64 * 6


def test_distances_cost_what_their_product_does():
    a, b = torch.ones(40, 3), torch.ones(30, 3)
    assert counted(lambda: torch.cdist(a, b)) == 2 * 40 * 30 * 3


def test_a_product_of_integers_is_a_product():
    a = torch.ones(32, 16, dtype=torch.int8)
    b = torch.ones(16, 8, dtype=torch.int8)
    assert counted(lambda: torch._int_mm(a, b)) == 2 * 32 * 16 * 8
