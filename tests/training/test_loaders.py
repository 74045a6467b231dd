"""`fit` and `Classifier` on Torch's data sets and loaders."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytestmark = [
    pytest.mark.backend("train"),
    pytest.mark.filterwarnings("ignore:hidden layer .* is (dead|mostly silent)"),
]
torch = pytest.importorskip("torch", reason="torch is not installed")
pl = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset  # noqa: E402

import fastsnn_np as fs  # noqa: E402
from fastsnn_np.datasets import collate  # noqa: E402
from fastsnn_np.torch import FastSNN, fit  # noqa: E402
from fastsnn_np.torch.training import Classifier, LayerHealth  # noqa: E402

OPTIONS = {"epochs": 3, "batch_size": 25, "learning_rate": 0.01}


class Samples(Dataset):
    """What is in memory, sample by sample."""

    def __init__(self, x, labels):
        self.x, self.labels = x, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        if isinstance(self.x, (fs.SpikeTimes, fs.Events)):
            return self.x[number : number + 1], self.labels[number]
        return self.x[number], self.labels[number]


def trained(x, labels=None, **options):
    torch.manual_seed(0)
    model = FastSNN([12, 20, 2])
    history = fit(model, x, labels, **{**OPTIONS, **options})
    return model.to_network(), history


def forms(task):
    x, labels = task
    dense = x.to_dense()
    return {
        "SpikeTimes": (x, labels),
        "Events": (x.to_events(), labels),
        "array": (dense, labels),
        "tensor": (torch.from_numpy(dense), torch.from_numpy(labels)),
    }


@pytest.mark.parametrize("form", ["SpikeTimes", "Events", "array", "tensor"])
def test_a_data_set_is_what_it_holds(task, form):
    """The same batches in the same order: the same weights to the last bit."""
    x, labels = forms(task)[form]
    network, history = trained(x, labels, validation=(x, labels))
    fetched, again = trained(Samples(x, labels), validation=Samples(x, labels))
    np.testing.assert_array_equal(fetched.layers[0].weight, network.layers[0].weight)
    assert again == history


def test_data_sets_are_augmented(task):
    """Also with the labels, which are those of the samples fetched."""
    x, labels = task
    seen = []

    @fs.augment.with_labels
    def note(batch, rng, labels):
        seen.append(labels.copy())
        return batch

    trained(Samples(x, labels), epochs=1, augment=note)
    assert sorted(np.concatenate(seen)) == sorted(labels)


def test_a_loader_of_tensors_learns(task):
    x, labels = task
    data = TensorDataset(torch.from_numpy(x.to_dense()), torch.from_numpy(labels))
    loader = DataLoader(data, batch_size=25, shuffle=True)
    history = trained(loader, epochs=8, validation=DataLoader(data, batch_size=50))[1]
    assert history[-1]["validation_accuracy"] > 0.95


def test_a_loader_gives_its_own_batches(task):
    """In order, so that they are those of one batch in memory and no shuffling."""
    x, labels = task
    loader = DataLoader(Samples(x, labels), batch_size=120, collate_fn=collate)
    network, _ = trained(loader)
    whole, _ = trained(x, labels, batch_size=120)
    np.testing.assert_allclose(
        network.layers[0].weight, whole.layers[0].weight, rtol=1e-3, atol=1e-5
    )


def test_the_classifier_takes_ordinary_batches(task):
    """Under a `Trainer` of one's own, with nothing of `fit`."""
    x, labels = task
    data = TensorDataset(torch.from_numpy(x.to_dense()), torch.from_numpy(labels))
    torch.manual_seed(0)
    model = FastSNN([12, 20, 2])
    classifier = Classifier(model, learning_rate=0.01)
    trainer = pl.Trainer(
        max_epochs=8,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LayerHealth()],
    )
    loader = DataLoader(data, batch_size=20, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's remarks on workers and devices
        trainer.fit(classifier, loader)
    assert classifier.history[-1]["accuracy"] > 0.9


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(12, 20), 0


def bad(task):
    x, labels = task
    dense = torch.from_numpy(x.to_dense())

    def loader(*tensors, **options):
        return DataLoader(TensorDataset(*tensors), batch_size=40, **options)

    good = loader(dense, torch.from_numpy(labels))
    odd = [(torch.zeros(12, 20 + i % 2), 0) for i in range(4)]
    return [
        ((good, labels), TypeError, "x has labels of its own, being a DataLoader: give no labels"),
        ((DataLoader(Stream()),), TypeError, "x must know its number of batches"),
        ((Stream(),), TypeError, "x must give samples by number"),
        ((Samples(x[:0], labels[:0]),), ValueError, "x must hold at least one sample"),
        ((loader(dense[:0], dense[:0]),), ValueError, "x must hold at least one batch"),
        ((loader(dense),), TypeError, "batch 0 of x: a batch must be a pair"),
        (
            (loader(dense[:, :5], torch.from_numpy(labels)),),
            ValueError,
            "batch 0 of x: x has 5 neurons and the model expects 12",
        ),
        (
            (loader(dense, torch.from_numpy(labels) + 7),),
            ValueError,
            r"batch 0 of x: labels must be integers in 0 \.\.\. 1, got torch.int64 from 7 to 8",
        ),
        ((loader(dense * torch.nan, torch.from_numpy(labels)),), ValueError, "x has NaN"),
        ((Samples(x, labels + 0.5),), ValueError, "samples of x: labels must be integers"),
        ((Samples(x, labels[:, None]),), ValueError, "samples of x: 25 samples and labels of sha"),
        ((ListSet(odd),), ValueError, r"samples of x: x must have one shape, got \[\(12, 20\)"),
        ((ListSet([5]),), TypeError, "samples of x: a sample must be a pair"),
    ]


class ListSet(Dataset):
    def __init__(self, samples):
        self.all = samples

    def __len__(self):
        return len(self.all)

    def __getitem__(self, number):
        return self.all[number]


def test_loaders_that_do_not_fit(task):
    for arguments, error, words in bad(task):
        with pytest.raises(error, match=words):
            fit(FastSNN([12, 20, 2]), *arguments, **OPTIONS)
    loader = DataLoader(Samples(*task), batch_size=40, collate_fn=collate)
    with pytest.raises(ValueError, match="augment changes the batches that fit makes"):
        fit(FastSNN([12, 20, 2]), loader, augment=lambda x, rng: x)
