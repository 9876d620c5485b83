"""XOR: the smallest problem that needs a hidden layer, and the five lines of every training loop."""

import numpy as np

from microgradnet import datasets, nn, optim

data = datasets.xor()  # the four corners of the square
rng = np.random.default_rng(1)
model = nn.Sequential(nn.Linear(2, 4, rng=rng), nn.Tanh(), nn.Linear(4, 2, rng=rng))
loss_fn = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.5)

for epoch in range(301):
    loss = loss_fn(model(data.x), data.y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 100 == 0:
        print(f"epoch {epoch:3}  loss {loss:.4f}")

probabilities = nn.functional.softmax(model(data.x)).data
for (left, right), truth, row in zip(data.x, data.y, probabilities, strict=True):
    print(f"{left:.0f} xor {right:.0f} = {row.argmax()}  (probability {row.max():.3f}, truth {truth})")
