"""The learned text encoder against torch's own transformer."""

import pytest
import torch
from torch import nn

from dmtool.nn.text import TextTransformer


@pytest.fixture
def network() -> TextTransformer:
    torch.manual_seed(0)
    network = TextTransformer(vocabulary=50, width=32, depth=2, heads=4, max_length=16)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def _peer(network: TextTransformer) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(32, 4, 128, 0, "gelu", batch_first=True, norm_first=True)
    peer = nn.TransformerEncoder(layer, 2, nn.LayerNorm(32), enable_nested_tensor=False)
    for to, block in zip(peer.layers, network.blocks, strict=True):
        to.self_attn.in_proj_weight.data = block.qkv.weight.data
        to.self_attn.in_proj_bias.data = block.qkv.bias.data
        pairs = [(to.self_attn.out_proj, block.out), (to.norm1, block.norm1)]
        pairs += [(to.norm2, block.norm2), (to.linear1, block.mlp[0]), (to.linear2, block.mlp[2])]
        for theirs, ours in pairs:
            theirs.load_state_dict(ours.state_dict())
    peer.norm.load_state_dict(network.norm.state_dict())
    return peer


def test_equals_torchs_pre_norm_transformer(network):
    ids = torch.randint(0, 50, (3, 7))
    mask = torch.arange(7) < torch.tensor([[7], [2], [5]])
    inputs = network.token(ids) + network.position[:7]
    expected = _peer(network)(inputs, src_key_padding_mask=~mask)
    states, pooled = network(ids, mask)
    torch.testing.assert_close(states[mask], expected[mask], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled[1], expected[1, :2].mean(0), atol=1e-5, rtol=1e-5)
    assert not states[~mask].any()


def test_padding_changes_nothing_and_gets_no_gradient(network):
    ids = torch.tensor([[5, 6, 7, 9, 9]])
    mask = torch.tensor([[True, True, True, False, False]])
    padded, pooled = network(ids, mask)
    alone, alone_pooled = network(ids[:, :3], mask[:, :3])
    torch.testing.assert_close(padded[:, :3], alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(pooled, alone_pooled, atol=1e-6, rtol=1e-5)
    (padded.square().sum() + pooled.sum()).backward()
    assert network.token.weight.grad[[5, 6, 7]].abs().amin(1).gt(0).all()
    assert not network.token.weight.grad[9].any() and not network.position.grad[3:].any()


def test_more_tokens_than_positions_are_refused(network):
    with pytest.raises(ValueError, match="17 tokens"):
        network(torch.zeros(1, 17, dtype=torch.int64), torch.ones(1, 17, dtype=torch.bool))
