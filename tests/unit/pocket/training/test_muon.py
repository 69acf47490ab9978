import torch

from pocket.training.muon import Muon, orthogonal
from shared.config.schema import TrainConfig
from trainer import optimizer


def test_singular_values_are_made_about_one_whatever_they_were():
    generator = torch.Generator().manual_seed(0)
    for shape in ((16, 40), (40, 16), (24, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=generator) * 1e-3))
        assert values.min() > 0.3, shape
        assert values.max() < 1.3, shape


def test_a_kernel_moves_like_the_matrix_with_a_row_for_each_output_channel():
    gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    kernel, matrix = torch.nn.Parameter(torch.zeros(8, 4, 3, 3)), torch.nn.Parameter(torch.zeros(8, 36))
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    Muon([kernel, matrix]).step()
    assert torch.equal(kernel.flatten(1), matrix)
    assert matrix.norm(dim=1).max() < 20e-3 * 1.3


def test_what_has_one_dimension_learns_by_adamw():
    ours, theirs = torch.nn.Parameter(torch.ones(5)), torch.nn.Parameter(torch.ones(5))
    optimizers = Muon([ours], weight_decay=0.1), torch.optim.AdamW([theirs], betas=(0.9, 0.95), weight_decay=0.1)
    for seed in range(3):
        ours.grad = torch.randn(5, generator=torch.Generator().manual_seed(seed))
        theirs.grad = ours.grad.clone()
        for one in optimizers:
            one.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_the_trainer_can_save_and_restore_it():
    optimizer.check(TrainConfig(optimizer="pocket.training.muon.Muon", optimizer_args={"matrix_ratio": 10.0}))
