"""Layers in PyTorch, in double precision: exactly, or with errors such as rounding to single precision makes.

An error is a random sign times `noise.size` times the sum of the magnitudes that an element is summed from: what bounds the
rounding error of a sum in any order, but for the number of its terms. It is made at the result of every layer, and at every
gradient that a layer hands back.
"""

import math

import torch
from torch.nn import functional as F

CONV = [F.conv1d, F.conv2d, F.conv3d]
MAX_POOL = [F.max_pool1d, F.max_pool2d, F.max_pool3d]
AVG_POOL = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d]


class Noise:
    """Errors of one size with signs of one generator."""

    def __init__(self, size, seed):
        self.size, self.generator = size, torch.Generator().manual_seed(seed)

    def signs(self, shape):
        return torch.randint(0, 2, tuple(shape), generator=self.generator).double() * 2 - 1

    def on(self, value, magnitude):
        return value + self.size * magnitude * self.signs(value.shape)


def vjp(function, operands, gradient):
    with torch.enable_grad():
        operands = [operand.detach().requires_grad_() for operand in operands]
        return torch.autograd.grad(function(*operands), operands, gradient)


class Rounded(torch.autograd.Function):
    """`function` of the operands with errors on its result and on the gradients it hands back.

    `forward_size(operands, result)` gives the magnitudes of the result's elements, `backward_size(operands, gradient)` those
    of the gradients'.
    """

    @staticmethod
    def forward(ctx, noise, function, forward_size, backward_size, *operands):
        ctx.noise, ctx.function, ctx.backward_size = noise, function, backward_size
        ctx.save_for_backward(*operands)
        result = function(*operands)
        return noise.on(result, forward_size(operands, result))

    @staticmethod
    def backward(ctx, gradient):
        operands = ctx.saved_tensors
        gradients = vjp(ctx.function, operands, gradient)
        sizes = ctx.backward_size(operands, gradient)
        return None, None, None, None, *[ctx.noise.on(g, size) for g, size in zip(gradients, sizes)]


def rounded(noise, function, *operands, forward_size=None, backward_size=None):
    """A function with errors; without noise, the function itself. By default it is taken to be a sum of products of its
    operands with factors that are not negative: its magnitudes are its results on magnitudes.
    """
    if noise is None:
        return function(*operands)
    absolute = lambda operands: [operand.abs() for operand in operands]
    forward_size = forward_size or (lambda operands, result: function(*absolute(operands)))
    backward_size = backward_size or (lambda operands, g: vjp(function, absolute(operands), g.abs()))
    return Rounded.apply(noise, function, forward_size, backward_size, *operands)


class Layers:
    """Runs the layers of a network once.

    `kinks` collects how far each decision of a ReLU or a max pooling is from falling otherwise: inputs of ReLUs, and what
    the largest element of each window is above the second. Decisions of an exact run given as `like` are followed up.
    """

    def __init__(self, noise=None, like=None):
        self.noise, self.like, self.kinks = noise, like, []

    def run(self, network, sources, training):
        values = [sources["x"]]
        for layer in network["layers"]:
            operands = [values[at] for at in layer["from"]]
            values.append(getattr(self, layer["layer"])(layer, sources, training, *operands))
        return values

    def conv2d(self, layer, sources, _, x):
        axes = len(layer["kernel_size"])
        settings = layer["stride"], layer["padding"], layer["dilation"], layer["groups"]
        weight = sources[f"{layer['name']}.weight"]
        if layer["bias"]:
            function = lambda x, w, b: CONV[axes - 1](x, w, b, *settings)
            return rounded(self.noise, function, x, weight, sources[f"{layer['name']}.bias"])
        return rounded(self.noise, lambda x, w: CONV[axes - 1](x, w, None, *settings), x, weight)

    def linear(self, layer, sources, _, x):
        parameters = [sources[f"{layer['name']}.weight"]]
        if layer["bias"]:
            parameters.append(sources[f"{layer['name']}.bias"])
        return rounded(self.noise, F.linear, x, *parameters)

    def max_pool2d(self, layer, _, __, x):
        axes = len(layer["kernel_size"])
        self.decide_windows(layer, x)
        kernel, stride, dilation = layer["kernel_size"], layer["stride"], layer["dilation"]
        padding = layer["padding"]

        def function(x):
            if all(2 * p <= k for p, k in zip(padding, kernel)):
                return MAX_POOL[axes - 1](x, kernel, stride, padding, dilation)
            # More padding than PyTorch takes: minus infinity, as it pads.
            return MAX_POOL[axes - 1](pad(x, padding, -math.inf), kernel, stride, 0, dilation)

        exact = lambda operands, result: torch.zeros_like(result)
        sums = lambda operands, g: vjp(function, operands, g.abs())
        return rounded(self.noise, function, x, forward_size=exact, backward_size=sums)

    def avg_pool2d(self, layer, _, __, x):
        axes = len(layer["kernel_size"])
        kernel, stride, padding, dilation = (layer[key] for key in ["kernel_size", "stride", "padding", "dilation"])

        def function(x):
            fits = all(2 * p <= k <= size for p, k, size in zip(padding, kernel, x.shape[2:]))
            if dilation == [1] * axes and fits:
                return AVG_POOL[axes - 1](x, kernel, stride, padding)
            # Windows that PyTorch has no average of: a convolution with equal weights.
            weight = torch.full((x.shape[1], 1, *kernel), 1 / math.prod(kernel), dtype=x.dtype)
            return CONV[axes - 1](x, weight, None, stride, padding, dilation, x.shape[1])

        return rounded(self.noise, function, x)

    def global_avg_pool2d(self, _, __, ___, x):
        return rounded(self.noise, lambda x: F.adaptive_avg_pool2d(x, 1), x)

    def flatten(self, _, __, ___, x):
        return x.flatten(1)

    def dropout(self, layer, _, training, x):
        return F.dropout(x, layer["rate"], training and layer["rate"] > 0)

    def add(self, _, __, ___, left, right):
        return rounded(self.noise, torch.add, left, right)

    def concat(self, _, __, ___, *parts):
        return torch.cat(parts, 1)

    def relu(self, _, __, ___, x):
        self.decide(x.detach())
        return F.relu(x)

    def sigmoid(self, _, __, ___, x):
        # The exponential's argument is rounded; the gradient takes 1 − y from a rounded y.
        forward = lambda operands, y: y * (1 + (1 - y) * operands[0].abs())
        backward = lambda operands, g: [g.abs() * torch.sigmoid(operands[0])]
        return rounded(self.noise, torch.sigmoid, x, forward_size=forward, backward_size=backward)

    def tanh(self, _, __, ___, x):
        forward = lambda operands, y: y.abs()
        backward = lambda operands, g: [g.abs() * (1 + torch.tanh(operands[0]) ** 2)]
        return rounded(self.noise, torch.tanh, x, forward_size=forward, backward_size=backward)

    def smooth(self, function, x, kinks=(), steepest=1.0, far=0.0):
        """A function within some units of its value, with a slope within some units of its largest. `far` is what the
        relative error grows by with the exponent of `gelu`.
        """
        for kink in kinks:
            self.decide(x.detach() - kink)
        exponent = lambda x: far * (x * (1.6 + 0.0714 * x * x)).abs()
        forward = lambda operands, y: y.abs() * (4 + exponent(operands[0]))
        backward = lambda operands, g: [4 * steepest * g.abs()]
        return rounded(self.noise, function, x, forward_size=forward, backward_size=backward)

    def gelu(self, layer, _, __, x):
        if layer.get("approximate"):
            return self.smooth(lambda x: F.gelu(x, approximate="tanh"), x, far=2.0)
        return self.smooth(F.gelu, x)

    def silu(self, _, __, ___, x):
        return self.smooth(F.silu, x)

    def softplus(self, _, __, ___, x):
        return self.smooth(lambda x: F.softplus(x, threshold=50), x)

    def elu(self, layer, _, __, x):
        return self.smooth(lambda x: F.elu(x, layer["alpha"]), x, kinks=[0])

    def selu(self, _, __, ___, x):
        return self.smooth(F.selu, x, kinks=[0], steepest=1.8)

    def leaky_relu(self, layer, _, __, x):
        return self.smooth(lambda x: F.leaky_relu(x, layer["slope"]), x, kinks=[0])

    def relu6(self, _, __, ___, x):
        return self.smooth(F.relu6, x, kinks=[0, 6])

    def hard_swish(self, _, __, ___, x):
        return self.smooth(F.hardswish, x, kinks=[-3, 3], steepest=1.5)

    def hard_sigmoid(self, _, __, ___, x):
        return self.smooth(F.hardsigmoid, x, kinks=[-3, 3])

    def scaled_tanh(self, _, __, ___, x):
        return self.smooth(lambda x: 1.7159 * torch.tanh(x * 2 / 3), x, steepest=1.2)

    def abs(self, _, __, ___, x):
        return self.smooth(torch.abs, x, kinks=[0])

    def softmax(self, _, __, ___, x):
        function = lambda x: F.softmax(x, 1)

        def backward(operands, g):
            y = function(operands[0])
            return [y * (g.abs() + (g.abs() * y).sum(1, keepdim=True))]

        forward = lambda operands, y: y * (1 + below_largest(operands[0]))
        return rounded(self.noise, function, x, forward_size=forward, backward_size=backward)

    def log_softmax(self, _, __, ___, x):
        function = lambda x: F.log_softmax(x, 1)
        # The sum of exponentials, 1 at least, is rounded before its logarithm is taken.
        forward = lambda operands, y: below_largest(operands[0]) + y.abs() + 1
        backward = lambda operands, g: [g.abs() + F.softmax(operands[0], 1) * g.abs().sum(1, keepdim=True)]
        return rounded(self.noise, function, x, forward_size=forward, backward_size=backward)

    def batch_norm(self, layer, sources, training, x):
        name, epsilon, momentum = layer["name"], layer["epsilon"], layer["momentum"]
        gamma, beta = sources[f"{name}.weight"], sources[f"{name}.bias"]
        running = sources[f"{name}.running_mean"], sources[f"{name}.running_var"]
        # With both parameters frozen, the layer keeps its running statistics and normalises by them.
        if training and (gamma.requires_grad or beta.requires_grad):
            before = [state.clone() for state in running]
            if self.noise is None:
                return F.batch_norm(x, *running, gamma, beta, True, momentum, epsilon)
            result = rounded(
                self.noise,
                lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, True, momentum, epsilon),
                x,
                gamma,
                beta,
                forward_size=lambda operands, _: norm_sizes(*operands, epsilon),
                backward_size=lambda operands, g: norm_gradient_sizes(*operands, g, epsilon),
            )
            F.batch_norm(x.detach(), *running, None, None, True, momentum, epsilon)
            x, axes = x.detach().abs(), reduced(x)
            with torch.no_grad():
                mean, variance = running
                mean.copy_(self.noise.on(mean, before[0].abs() + momentum * x.mean(axes)))
                variance.copy_(self.noise.on(variance, before[1] + variance))
            return result
        function = lambda x, gamma, beta: F.batch_norm(x, *running, gamma, beta, False, momentum, epsilon)

        def forward(operands, _):
            x, gamma, beta = operands
            mean, inverse = running[0].abs(), 1 / torch.sqrt(running[1] + epsilon)
            return (x.abs() + channels(x, mean)) * channels(x, inverse * gamma.abs()) + channels(x, beta.abs())

        return rounded(self.noise, function, x, gamma, beta, forward_size=forward)

    def loss(self, kind, y, sources):
        if kind == "mean_squared_error":
            relative = lambda operands, result: result
            scaled = lambda operands, g: [vjp(function, operands, g)[0].abs()]
            function = lambda y: F.mse_loss(y, sources["target"])
            return rounded(self.noise, function, y, forward_size=relative, backward_size=scaled)
        labels = sources["labels"]
        function = lambda logits: F.cross_entropy(logits, labels)

        def forward(operands, _):
            sizes = below_largest(operands[0]) + F.log_softmax(operands[0], 1).abs() + 1
            return sizes.gather(1, labels[:, None]).mean()

        def backward(operands, g):
            ones = F.one_hot(labels, operands[0].shape[1])
            softmax = F.softmax(operands[0], 1) * (1 + below_largest(operands[0]))
            return [(softmax + ones) * g.abs() / len(labels)]

        return rounded(self.noise, function, y, forward_size=forward, backward_size=backward)

    def decide(self, distance):
        """Notes the distances of decisions from falling otherwise."""
        self.kinks.append((distance, None))

    def decide_windows(self, layer, x):
        windows = pad(x.detach(), layer["padding"], -math.inf)
        for axis, (kernel, stride, dilation) in enumerate(zip(layer["kernel_size"], layer["stride"], layer["dilation"])):
            extent = (kernel - 1) * dilation + 1
            windows = windows.unfold(axis + 2, extent, stride)[..., ::dilation]
        windows = windows.flatten(-len(layer["kernel_size"]))
        if windows.shape[-1] == 1:
            return
        places = self.like.kinks[len(self.kinks)][1] if self.like else windows.topk(2, -1).indices
        first, second = windows.gather(-1, places).unbind(-1)
        self.kinks.append((first - second, places))

    def is_near_kink(self):
        """Whether errors come near to turn a decision of the exact run."""
        for (distance, _), (exact, _) in zip(self.kinks, self.like.kinks):
            moved = (distance - exact).abs()
            if bool(((moved >= exact.abs()) & (moved > 0)).any()):
                return True
        return False


def pad(x, padding, value):
    return F.pad(x, [size for padding in reversed(padding) for size in (padding, padding)], value=value)


def reduced(x):
    return [axis for axis in range(x.dim()) if axis != 1]


def channels(x, vector):
    return vector.reshape(1, -1, *[1] * (x.dim() - 2))


def below_largest(x):
    return x.max(1, keepdim=True).values - x


def normalised(x, epsilon):
    """x̂, its inverse deviations, and the magnitudes that x̂ is computed from: of x and its mean."""
    axes = reduced(x)
    inverse = 1 / torch.sqrt(x.var(axes, unbiased=False, keepdim=True) + epsilon)
    size = (x.abs() + x.abs().mean(axes, keepdim=True)) * inverse
    return (x - x.mean(axes, keepdim=True)) * inverse, inverse, size


def norm_sizes(x, gamma, beta, epsilon):
    hat, _, size = normalised(x, epsilon)
    return (size + hat.abs()) * channels(x, gamma.abs()) + channels(x, beta.abs())


def norm_gradient_sizes(x, gamma, beta, g, epsilon):
    axes, g = reduced(x), g.abs()
    hat, inverse, size = normalised(x, epsilon)
    hat = hat.abs() + size
    to_x = g + g.mean(axes, keepdim=True) + hat * (g * hat).mean(axes, keepdim=True)
    return to_x * inverse * channels(x, gamma.abs()), (g * hat).sum(axes), g.sum(axes)
