import numpy as np

from pocket.lessons.weaves import render_weave


def fine_share(picture: np.ndarray) -> float:
    """The share of brightness's variance in waves shorter than 6 pixels."""
    power = np.abs(np.fft.fft2(picture.mean(axis=2) - picture.mean())) ** 2
    frequency = np.fft.fftfreq(len(picture))
    return power[np.maximum(np.abs(frequency)[:, None], np.abs(frequency)[None, :]) > 1 / 6].sum() / power.sum()


def test_a_weave_is_a_pure_function_of_its_seed():
    first, again, other = (np.asarray(render_weave(seed, 48)) for seed in (3, 3, 4))
    assert first.shape == (48, 48, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_weaves_are_as_fine_as_pictures_can_hold_and_coarse_too():
    shares = [fine_share(np.asarray(render_weave(seed, 64), dtype=float)) for seed in range(24)]
    assert sum(share > 0.3 for share in shares) >= 3
    assert sum(share < 0.1 for share in shares) >= 3
