"""Several datasets in one, each with its share of the draws, as the paper trains."""

from collections.abc import Sequence

import numpy as np

from modeling_evf_sam.data.mirroring import mirrored
from modeling_evf_sam.data.referring_dataset import ReferringDataset
from modeling_evf_sam.data.referring_sample import ReferringSample

ATTEMPTS = 100  # a draw may meet photos without sentences


class DatasetMixture:
    """Draws a dataset by its rate, a photo of it evenly, and a few of its sentences: item i follows from (seed, i).

    Nothing else matters: not the process, nor what was drawn before. A run that was stopped after n items goes on
    with item n. The paper mixes RefCLEF, RefCOCO, RefCOCO+ and RefCOCOg at equal rates, whatever their sizes, with 3
    sentences for a photo; and Objects365 with all of these at 1 to 3 (released code, `utils/dataset.py`).

    Args:
        datasets: what to draw from.
        rates: for each, how often, in any unit.
        size: the number of draws.
        sentences_per_photo: at the most.
        negatives: share of the sentences that give their place to one of another photo of the same dataset, about
            what the photo does not show (see `ReferringDataset.draw`).
        flips: share of the draws that a mirror shows, with left and right of the sentences exchanged (see `mirrored`).
        seed: another one gives other draws.

    Raises:
        ValueError: no datasets, an empty one, rates that do not fit, counts below 1, or negatives where a
            dataset does not say what its photos show.
    """

    def __init__(
        self,
        datasets: Sequence[ReferringDataset],
        *,
        size: int,
        rates: Sequence[float] | None = None,
        sentences_per_photo: int = 3,
        negatives: float = 0.0,
        flips: float = 0.0,
        seed: int = 0,
    ) -> None:
        shares = np.asarray([1.0] * len(datasets) if rates is None else rates, dtype=np.float64)
        if not len(datasets) or shares.shape != (len(datasets),):
            raise ValueError(f"{len(datasets)} datasets with {shares.size} rates: give one rate for each dataset")
        if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() == 0:
            raise ValueError(f"rates {shares.tolist()} must be 0 or more, and one of them above 0")
        empty = [index for index, dataset in enumerate(datasets) if len(dataset) == 0]
        if empty:
            raise ValueError(f"dataset {empty[0]} has no photos: leave it out, or check what was excluded from it")
        if size < 1 or sentences_per_photo < 1:
            raise ValueError(f"size {size} and sentences_per_photo {sentences_per_photo} must be at least 1")
        for name, share, of in (("negatives", negatives, "sentences"), ("flips", flips, "draws")):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a share of the {of}, from 0 to 1, not {share}")
        if negatives:
            for dataset in datasets:
                dataset.categories(0)  # or it says why it does not know them
        self.datasets, self.shares = list(datasets), shares / shares.sum()
        self.size, self.sentences_per_photo, self.seed = size, sentences_per_photo, seed
        self.negatives, self.flips = negatives, flips

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> ReferringSample:
        """Returns draw `index`.

        Raises:
            IndexError: `index` is not in [0, size).
            ValueError: photos without sentences, again and again.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"draw {index} is outside the {self.size} draws of this mixture")
        rng = np.random.default_rng((self.seed, index))
        dataset = self.datasets[rng.choice(len(self.datasets), p=self.shares)]
        for _ in range(ATTEMPTS):
            photo = int(rng.integers(len(dataset)))
            sample = dataset.draw(photo, max_sentences=self.sentences_per_photo, negatives=self.negatives, rng=rng)
            if sample.sentences:
                flip = self.flips and rng.random() < self.flips
                return (mirrored(sample) if flip else None) or sample
        raise ValueError(f"draw {index}: {ATTEMPTS} photos had no sentences: check the labels of the dataset")
