"""The same trainings in PyTorch, as they are usually written: dense one-hot inputs, `torch.optim.AdamW`."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.cases import takes_inputs
from jaxgen import losses, models, optimizers

Params = dict[str, torch.Tensor]


class Training:
    """One configuration: its rows, its weights, its network and its loss.

    Args:
      experiment: what is trained.
      check: weights by name and rows, from our own initialisation.
    """

    def __init__(self, experiment: Any, check: Any):
        self.experiment, self.model = experiment, experiment.model
        tokens, self.labels = torch.tensor(check["tokens"]), torch.tensor(check["labels"])
        if not tokens.is_floating_point():
            tokens = tokens.long()
        if not self.labels.is_floating_point():
            self.labels = self.labels.long()
        one_hot = lambda: torch.cat([F.one_hot(tokens[:, i], experiment.task.p) for i in range(2)], 1).float()  # noqa: E731
        self.inputs = tokens if takes_inputs(self.model) else one_hot()
        if isinstance(self.model, models.FixedReadoutMLP):
            signs = 1 - 2 * (torch.arange(self.model.width) % 2)
            self.readout = signs[:, None] / self.model.width**0.5
        names = [name for name in check if name.startswith("param/")]
        self.start = {name.removeprefix("param/"): torch.tensor(check[name]) for name in names}

    def outputs(self, params: Params, x: torch.Tensor) -> torch.Tensor:
        """The network."""
        if isinstance(self.model, models.Decoder):
            return self._decoder(params, x)
        if isinstance(self.model, models.Transformer):
            return self._transformer(params, x)
        if isinstance(self.model, models.EmbeddingMLP):
            return self._embedding_mlp(params, x)
        if isinstance(self.model, models.FixedReadoutMLP):
            return torch.relu(x @ params["kernel"]) @ self.readout
        kernels = [params[f"Linear_{i}.kernel"] for i in range(len(params))]
        for kernel in kernels[:-1]:
            x = x @ kernel
            x = x * x if isinstance(self.model, models.QuadraticMLP) else torch.relu(x)
        return x @ kernels[-1]

    def loss(self, params: Params, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Mean loss."""
        z = self.outputs(params, x)
        if isinstance(self.experiment.loss, losses.MeanSquaredError):
            return F.mse_loss(z, y if y.is_floating_point() else F.one_hot(y, z.shape[-1]).to(z.dtype))
        if isinstance(self.experiment.loss, losses.Logistic):
            return F.softplus(-z[:, 0] * y).mean()
        if isinstance(self.experiment.loss, losses.StableMaxCrossEntropy):
            s = torch.where(z >= 0, z + 1, 1 / (1 - z.clamp(max=0)))
            return F.nll_loss(torch.log(s / s.sum(-1, keepdim=True)), y)
        return F.cross_entropy(z.flatten(0, -2), y.flatten())

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        """AdamW, or plain gradient descent."""
        o = self.experiment.optimizer
        if isinstance(o, optimizers.SGD):
            return torch.optim.SGD(params.values(), lr=o.learning_rate)
        settings = {"lr": o.learning_rate, "betas": (o.b1, o.b2), "eps": o.eps, "weight_decay": o.weight_decay}
        return torch.optim.AdamW(params.values(), **settings)

    def _decoder(self, p: Params, tokens: torch.Tensor) -> torch.Tensor:
        rows, length, width, heads = *tokens.shape, self.model.width, self.model.heads
        norm = lambda x, name: F.layer_norm(x, (width,), p[f"{name}.scale"], p[f"{name}.bias"], 1e-6)  # noqa: E731
        dense = lambda x, name: x @ p[f"{name}.kernel"] + p[f"{name}.bias"]  # noqa: E731
        x = F.embedding(tokens, p["embedding"]) + p["positions_vectors"][:length]
        for i in range(self.model.layers):
            block, seen = f"block_{i}", norm(x, f"block_{i}.norm_attention")
            parts = (dense(seen, f"{block}.{name}") for name in ("query", "key", "value"))
            parts = (part.view(rows, length, heads, -1).transpose(1, 2) for part in parts)
            mixed = F.scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).reshape(rows, length, width)
            x = x + dense(mixed, f"{block}.attention")
            hidden = F.gelu(dense(norm(x, f"{block}.norm_mlp"), f"{block}.mlp_in"), approximate="tanh")
            x = x + dense(hidden, f"{block}.mlp_out")
        return norm(x, "norm") @ p["unembedding"]

    def _embedding_mlp(self, p: Params, tokens: torch.Tensor) -> torch.Tensor:
        x = F.embedding(tokens, p["embedding"]).sum(-2)
        for i in range(self.model.depth):
            x = torch.tanh(x @ p[f"Linear_{i}.kernel"] + p[f"Linear_{i}.bias"])
        return x @ p[f"Linear_{self.model.depth}.kernel"] + p[f"Linear_{self.model.depth}.bias"]

    def _transformer(self, p: Params, tokens: torch.Tensor) -> torch.Tensor:
        x = F.embedding(tokens, p["embedding"]) + p["positions"]
        heads = [torch.einsum("bld,dhk->bhlk", x, p[f"attention.{n}.kernel"]) for n in ("query", "key", "value")]
        mixed = F.scaled_dot_product_attention(*heads)
        x = x + torch.einsum("bhlk,hkd->bld", mixed, p["attention.out.kernel"])
        hidden = torch.relu(x @ p["mlp_in.kernel"] + p["mlp_in.bias"])
        x = x + hidden @ p["mlp_out.kernel"] + p["mlp_out.bias"]
        return x[:, -1] @ p["unembedding"]


def eager(experiment: Any, check: Any, threads: int) -> Callable[[int], list[float]]:
    """One configuration after another. Returns a function that makes steps and returns their losses when asked."""
    torch.set_num_threads(threads)
    training = Training(experiment, check)
    params = {name: torch.nn.Parameter(w.clone()) for name, w in training.start.items()}
    optimizer = training.optimizer(params)

    def work(steps: int, watched: bool = False) -> list[float]:
        seen = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = training.loss(params, training.inputs, training.labels)
            loss.backward()
            optimizer.step()
            if watched:
                seen.append(float(loss.detach()))
        return seen

    return work


def ensemble(experiment: Any, check: Any, members: int) -> Callable[[int], list[float]]:
    """`torch.func`: `vmap` of the gradient over stacked weights, compiled where that works; AdamW on the stack."""
    training = Training(experiment, check)
    params = {n: torch.nn.Parameter(torch.stack([w] * members)) for n, w in training.start.items()}
    optimizer = training.optimizer(params)
    gradients: Callable = torch.func.vmap(torch.func.grad_and_value(training.loss), in_dims=(0, None, None))
    compiled = torch.compile(gradients)
    try:
        with torch.no_grad():
            compiled(dict(params), training.inputs, training.labels)
        gradients = compiled
    except Exception as error:  # no C++ compiler, or an operation that it does not know
        print(f"torch.compile: {str(error).splitlines()[0]}: goes on without", file=sys.stderr)

    def work(steps: int, watched: bool = False) -> list[float]:
        seen = []
        for _ in range(steps):
            with torch.no_grad():
                found, loss = gradients(dict(params), training.inputs, training.labels)
            for name, parameter in params.items():
                parameter.grad = found[name]
            optimizer.step()
            if watched:
                seen.append(float(loss.max() if len(seen) % 2 else loss.min()))  # so that every member has to agree
        return seen

    return work
