"""microgradnet: see, prove and run backpropagation. Autograd on NumPy."""

from microgradnet import ops
from microgradnet.backprop import grad, hessian, hvp, jacobian, jvp, vjp
from microgradnet.graph import no_grad
from microgradnet.ops import manual_seed
from microgradnet.primitive import Primitive
from microgradnet.tensor import Parameter, Tensor

__version__ = "0.1.0"

__all__ = [
    "Parameter",
    "Primitive",
    "Tensor",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "manual_seed",
    "no_grad",
    "ops",
    "vjp",
]
