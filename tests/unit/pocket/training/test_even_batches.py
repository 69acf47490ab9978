import torch

from pocket.training import transformer
from pocket.training.even_batches import LENGTH, places, predict, tokens_of


@torch.no_grad()
def test_the_quick_forward_pass_answers_what_the_transformers_own_does():
    torch.manual_seed(0)
    model = transformer.build()
    for parameter in model.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    latents, times, lengths = torch.randn(3, 32, 8, 16), torch.rand(3), torch.tensor([5, 17, LENGTH])
    captions = torch.randn(3, LENGTH, 128)
    listed = [caption[:length] for caption, length in zip(captions, lengths.tolist(), strict=True)]
    own = model([*latents.unsqueeze(2).unbind()], times, listed, return_dict=False)[0]
    is_padding = torch.arange(LENGTH) >= lengths[:, None]
    quick = predict(model, tokens_of(latents), times, captions, is_padding, places(model, 8, 16))
    assert quick.std() > 0.1
    assert torch.allclose(quick, tokens_of(torch.stack([*own]).squeeze(2)), atol=1e-5)
