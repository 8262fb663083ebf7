"""Bottlenecks against vector-quantize-pytorch, finite differences and what defines them."""

import math

import pytest
import torch
from torch import nn
from vector_quantize_pytorch import FSQ, VectorQuantize

from dmtool.nn.autoencoder import KINDS
from dmtool.nn.bottlenecks import Fsq, Kl, Plain, Sparse, Vq

SHAPE = {"patch": 4, "widths": [16], "encoder_blocks": 1, "decoder_blocks": 1, "middle": False,
         "groups": 4}  # fmt: skip
OWN = {
    "ae": {"latent_channels": 4}, "kl": {"latent_channels": 4},
    "sparse": {"latent_channels": 4, "k": 2}, "fsq": {"levels": [8, 5]},
    "vq": {"latent_channels": 4, "codes": 16, "cosine": True},
}  # fmt: skip


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def rows(z):
    """[B, C, h, w] -> [B, h w, C], as the peer has it."""
    return z.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_coded_and_decoded_is_what_is_trained(kind):
    """Without noise, the same each time; and the decoder hears what the width says."""
    network = KINDS[kind](**OWN[kind], **SHAPE)
    x = torch.rand(3, 3, 16, 8) * 2 - 1
    channels = network.bottleneck.width
    output, bottled = network(x, torch.zeros(3, channels, 4, 2))
    code = network.encode(x)
    assert code.shape == bottled.z.shape == (3, channels, 4, 2)
    torch.testing.assert_close(network.decode(code), output)
    output.square().mean().backward()
    assert next(network.encoder.parameters()).grad.any()  # it learns through the bottleneck


@pytest.mark.parametrize("levels", [[8, 6, 5], [4], [3, 3], [7, 5, 5, 5, 5]])
def test_fsq_is_the_peers(levels):
    ours, peer = Fsq(levels), FSQ(levels)
    features = torch.randn(2, len(levels), 3, 5) * 2
    z, ids = peer(rows(features))
    code = ours.code(features)
    torch.testing.assert_close(rows(ours(features, None).z), z, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(rows(ours.embed(code)), z, rtol=1e-4, atol=1e-6)
    assert torch.equal(ours.ids(code).flatten(1), ids.long())
    every = torch.arange(ours.vocabulary)
    found = ours.of_ids(every[:, None, None])
    torch.testing.assert_close(found[:, :, 0, 0], peer.indices_to_codes(every[:, None])[:, 0])
    assert torch.equal(ours.ids(found).flatten(), every)


@pytest.mark.parametrize("cosine", [False, True])
def test_vq_is_the_peers_with_one_step_of_its_averages(cosine):
    ours = Vq(4, 16, cosine=cosine, decay=0.9)
    peer = VectorQuantize(
        dim=4, codebook_size=16, decay=0.9, commitment_weight=1.0, use_cosine_sim=cosine,
        rotation_trick=False, threshold_ema_dead_code=0, eps=0.0,
    ).train()  # fmt: skip
    book = peer._codebook
    used = torch.arange(16.0) + 1
    ours.book.copy_(book.embed[0])
    for counts in (ours.counts, book.cluster_size[0]):
        counts.copy_(used)
    for totals in (ours.totals, book.embed_avg[0]):
        totals.copy_(ours.book * used[:, None])
    features = torch.randn(3, 4, 5, 2)
    z, ids, loss = peer(rows(features))
    bottled = ours(features, None)
    assert torch.equal(ours.ids(ours.code(features)).flatten(1), ids)
    torch.testing.assert_close(rows(bottled.z), z)
    if not cosine:  # the peer's loss is of features that are not on the sphere
        torch.testing.assert_close(bottled.penalties["commitment"], loss.squeeze())
    ours.settle(bottled.sums)
    torch.testing.assert_close(ours.counts, book.cluster_size[0])
    torch.testing.assert_close(ours.book, book.embed[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bottleneck", [Vq(2, 8, cosine=False), Fsq([5, 4])], ids=["vq", "fsq"])
def test_gradients_pass_straight_through(bottleneck):
    """The gradient of what comes out is that of what goes in, as if nothing were rounded."""
    features = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64)
    double = bottleneck.double()
    (found,) = torch.autograd.grad((double(features, None).z * weight).sum(), features)
    step = 1e-6
    plain = lambda x: (double.code(x) * weight).sum()  # noqa: E731
    for i in range(0, features.numel(), 5):
        change = torch.zeros(features.numel(), dtype=torch.float64)
        change[i] = step
        change = change.view_as(features)
        slope = (plain(features + change) - plain(features - change)) / (2 * step)
        assert found.flatten()[i].item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-9)


def test_codes_that_nobody_uses_begin_anew_where_features_are():
    """Two clusters far from all codes but one: without restarts one code serves them all."""
    centres = torch.tensor([[5.0, 5.0], [5.2, 4.8], [-5.0, 5.0], [5.0, -5.0]])
    features = centres[torch.arange(4 * 64) % 4] + torch.randn(256, 2) / 50
    features = features.T.reshape(2, 4, 8, 8).movedim(0, 1)
    used, error = {}, {}
    for restart in (0.0, 0.2):
        vq = Vq(2, 8, cosine=False, decay=0.8, restart=restart)
        vq.book.copy_(torch.cat([torch.tensor([[4.0, 4.0]]), torch.full((7, 2), -90.0)]))
        for _ in range(30):
            vq.settle(vq(features, torch.randn(4, 2, 8, 8)).sums)
        used[restart] = vq.ids(features).unique().numel()
        error[restart] = (vq.embed(features) - features).square().mean().item()
        assert torch.equal(vq.book, vq.totals / vq.counts[:, None]) or not restart
    assert used[0.0] < 3 and used[0.2] >= 4
    assert error[0.2] < 0.01 < error[0.0]


def test_restarts_are_the_same_however_a_batch_is_split():
    vq = Vq(3, 8, cosine=True, decay=0.9, restart=0.5).double()
    features, noise = torch.randn(2, 6, 3, 4, 4, dtype=torch.float64)
    vq.settle(vq(features, noise).sums)
    whole, parts = vq(features, noise).sums, [vq(features[i : i + 2], noise[i : i + 2]).sums
                                              for i in (0, 2, 4)]  # fmt: skip
    assert whole["drawn"].eq(1).any()
    for name, total in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), total)


def test_kl_with_free_bits_counts_what_is_above_them():
    features = torch.randn(2, 6, 4, 4)
    mean, log_variance = Kl(3).posterior(features)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    nats = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1))
    channels = nats.sum((2, 3))
    for bits in (0.0, 5.0, 1000.0):
        expected = channels.clamp(min=bits * math.log(2)).sum()
        found = Kl(3, bits)(features, torch.zeros(2, 3, 4, 4)).penalties["kl"]
        torch.testing.assert_close(found, expected)


def test_the_largest_values_of_a_position_are_kept():
    features = torch.randn(2, 8, 3, 3)
    code = Sparse(8, 3).code(features)
    assert ((code > 0).sum(1) <= 3).all() and (code >= 0).all()
    best = features.relu().sort(1, descending=True).values[:, :3].sum(1)
    torch.testing.assert_close(code.sum(1), best)


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_a_penalty_seeks_the_weight_that_meets_the_rate(rate):
    sparse, x = Sparse(16, None, rate=rate, pace=0.05), torch.randn(8, 4, 8, 8)
    outer = nn.Conv2d(4, 16, 1), nn.Conv2d(16, 4, 1)
    optimizer = torch.optim.Adam([p for each in outer for p in each.parameters()], lr=1e-2)
    for _ in range(400):
        bottled = sparse(outer[0](x), None)
        loss = (outer[1](bottled.z) - x).square().mean() + 0.01 * bottled.penalties["l1"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sparse.settle(bottled.sums)
    assert bottled.figures["active"].item() == pytest.approx(rate, rel=0.2)


def test_without_a_bottleneck_the_code_is_what_the_encoder_says():
    features = torch.randn(2, 3, 4, 4)
    assert torch.equal(Plain(3)(features, None).z, features)
