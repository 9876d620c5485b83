"""microgradnet: see, prove and run backpropagation. Autograd on NumPy."""

from microgradnet import datasets, delta, lab, nn, ops, optim, testing, train, viz
from microgradnet.backprop import grad, hessian, hvp, jacobian, jvp, vjp
from microgradnet.checking import derive, explain, export_numpy, gradcheck, verify
from microgradnet.compiler import CompileError, compile, constant
from microgradnet.graph import no_grad
from microgradnet.ops import manual_seed
from microgradnet.primitive import Primitive
from microgradnet.serialization import load, load_state, save
from microgradnet.tensor import Parameter, Tensor
from microgradnet.viz import draw, summary

__version__ = "0.1.0"

__all__ = [
    "CompileError",
    "Parameter",
    "Primitive",
    "Tensor",
    "compile",
    "constant",
    "datasets",
    "delta",
    "derive",
    "draw",
    "explain",
    "export_numpy",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "lab",
    "load",
    "load_state",
    "manual_seed",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "save",
    "summary",
    "testing",
    "train",
    "verify",
    "viz",
    "vjp",
]
