"""Draw what was computed: as a tree here, and with a file name as a picture: draw_graph.py graph.svg.

Every edge is drawn, so that x·x has two. The picture needs Graphviz's dot; the tree needs nothing.
"""

import sys

from microgradnet import Tensor, draw
from microgradnet.viz import render

x = Tensor([1.0, 2.0], name="x")
w = Tensor([0.5, -1.0], requires_grad=True, name="w")
b = Tensor(0.25, requires_grad=True, name="b")
z = (w * x).sum() + b
loss = z * z
loss.backward()

print(draw(loss, format="text"))

if len(sys.argv) > 1:
    print("written:", render(draw(loss, show=("shape", "value", "backward")), sys.argv[1]))
