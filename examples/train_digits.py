"""Train a classifier of handwritten digits in a few seconds, and keep the epoch that validation liked best.

The 1,797 real digits of 8×8 pixels that scikit-learn carries: pip install 'microgradnet[digits]'.
"""

import numpy as np

from microgradnet import datasets, nn, optim, train

rng = np.random.default_rng(1)  # the split, the weights, dropout and the order of batches come from it
splits = datasets.load("digits", rng=rng)
print(splits)

model = nn.Sequential(
    nn.Linear(64, 64, rng=rng),
    nn.ReLU(),
    nn.Dropout(0.2, rng=rng),
    nn.Linear(64, 10, rng=rng),
)
loss_fn = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

history = train.fit(
    model,
    loss_fn,
    optimizer,
    splits.train,
    epochs=20,
    validation=splits.validation,
    metrics=["accuracy"],
    monitor="accuracy",
    keep_best=True,
    rng=rng,
    progress=False,
)
for record in list(history)[::5]:
    print(f"epoch {record.epoch:2}  loss {record.loss:.3f}  validation {record.validation['accuracy']:.1%}")

best = history.best.epoch if history.best else None
test = train.evaluate(model, loss_fn, splits.test, metrics=["accuracy"])  # the test set, once
print(f"test accuracy {test['accuracy']:.1%}, with the weights of epoch {best}")
