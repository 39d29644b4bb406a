"""What a run draws from its datasets, and what it does about files that cannot be read."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from PIL import Image
from torch.utils.data import Dataset

from modeling_evf_sam.data.mixture import DatasetMixture
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.data.referring_dataset import ReferringDataset, Target
from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.quoting import quoted
from modeling_evf_sam.training.recipe import DataSettings

SUBSTITUTES = 10  # draws that may follow a bad one before the run gives up


@dataclass(kw_only=True)
class Draw:
    """A sample, and what was wrong with the draws that it stands for; None where nothing could be drawn."""

    sample: ReferringSample | None
    faults: list[str] = field(default_factory=list)


class Draws(Dataset):
    """The draws of a mixture; item i follows from the mixture and i alone, bad samples or not.

    Faults are returned, not raised: an error of a worker process reaches the user as a page of text.

    Args:
        mixture: what is drawn from.
        processor: the model's own; sentences that it cannot read are faults as well.
        skip: put another draw in the place of a bad one.
    """

    def __init__(self, mixture: DatasetMixture, processor: EvfSamProcessor, *, skip: bool) -> None:
        self.mixture, self.processor = mixture, processor
        self.attempts = 1 + SUBSTITUTES if skip else 1

    def __len__(self) -> int:
        return len(self.mixture)

    def __getitem__(self, index: int) -> Draw:
        faults = []
        for attempt in range(self.attempts):
            place = (index + attempt * len(self) // self.attempts) % len(self)  # far away: not in the same batch
            try:
                sample = self.mixture[place]
                self._check_sentences(sample)
            except (ValueError, OSError) as error:
                faults.append(" ".join(str(error).split()))
            else:
                return Draw(sample=sample, faults=faults)
        return Draw(sample=None, faults=faults)

    def _check_sentences(self, sample: ReferringSample) -> None:
        try:
            self.processor(text=[sample.sentences], semantic=[sample.semantic])
        except ValueError as error:
            raise ValueError(f"photo '{sample.name}': {error}: {quoted(sample.sentences)}") from error


def training_datasets(data: DataSettings) -> list[ReferringDataset]:
    """Open the datasets to train on, without the photos that benchmarks test on unless the recipe includes them."""
    return [
        open_dataset(entry.name, entry.split, training=True, include_held_out=data.include_held_out)
        for entry in data.datasets
    ]


class FirstPhotos(ReferringDataset):
    """The first photos of another dataset; all of them for None."""

    def __init__(self, dataset: ReferringDataset, count: int | None) -> None:
        self.dataset, self.count = dataset, min(count or len(dataset), len(dataset))

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens a photo with all its sentences."""
        return self.dataset.read(index)

    def targets(self, index: int) -> list[Target]:
        """As the other dataset has them."""
        return self.dataset.targets(index)

    def categories(self, index: int) -> frozenset[Hashable]:
        """As the other dataset knows them."""
        return self.dataset.categories(index)

    def photo_name(self, index: int) -> str:
        """As the other dataset calls it."""
        return self.dataset.photo_name(index)


def validation_dataset(data: DataSettings) -> ReferringDataset | None:
    """Open the photos that are scored during training, if there are any."""
    if data.validation is None:
        return None
    return FirstPhotos(open_dataset(data.validation.name, data.validation.split), data.validation_photos)
