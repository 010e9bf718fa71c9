"""Draws stacks of layers and the numbers they run on. A stack is plain data, as the runner reads it; nothing here computes.

Value 0 of a stack is its input; layer `i`, named `l{i}`, gives value `i + 1`.
"""

import math

import numpy

CHANNELS = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33]
FEATURES = [1, 2, 3, 5, 7, 8, 10, 13, 16, 17, 31, 32, 33, 47, 64, 65]
UNARY = ["relu", "sigmoid", "tanh"]
ACTIVATIONS = [
    {"layer": "gelu"},
    {"layer": "gelu", "approximate": True},
    {"layer": "silu"},
    {"layer": "softplus"},
    {"layer": "elu", "alpha": 0.7},
    {"layer": "selu"},
    {"layer": "leaky_relu", "slope": 0.2},
    {"layer": "relu6"},
    {"layer": "hard_swish"},
    {"layer": "hard_sigmoid"},
    {"layer": "scaled_tanh"},
    {"layer": "abs"},
]


class Budget:
    """How large a network may be: elements of a value with its batch, elements of a weight, products of a convolution."""

    def __init__(self, small):
        self.elements, self.weight, self.products = (320, 160, 20_000) if small else (8_000, 6_000, 2_000_000)


def positions(size, window, axis):
    extent = (window["kernel_size"][axis] - 1) * window["dilation"][axis] + 1
    return (size + 2 * window["padding"][axis] - extent) // window["stride"][axis] + 1


def meets_image(size, window, axis):
    """Whether every window has an element within the image, along one axis."""
    kernel, dilation = window["kernel_size"][axis], window["dilation"][axis]
    for position in range(positions(size, window, axis)):
        start = position * window["stride"][axis] - window["padding"][axis]
        if not any(0 <= start + tap * dilation < size for tap in range(kernel)):
            return False
    return True


class Draw:
    """A stack as it grows."""

    def __init__(self, rng, small):
        self.rng, self.budget = rng, Budget(small)
        self.layers, self.shapes = [], []
        self.batch = rng.randint(1, 9)

    def one_axis(self, size, pool):
        rng = self.rng
        kernel = rng.choice([2, 2, 3, 3, 4, 1, 5] if pool else [3, 3, 3, 1, 5, 2, 4, 7])
        dilation = rng.choice([1] * 8 + [2, 3])
        limit = kernel - 1 if pool else kernel + 3
        padding = rng.choice([0, 0, 0, kernel // 2, kernel // 2, kernel // 2, rng.randint(0, limit)])
        padding = min(padding, limit)
        common = [2, 2, kernel, 1, 3] if pool else [1, 1, 1, 1, 2, 2, 3]
        stride = rng.choice(common + [rng.randint(1, size + 2 * padding + 3)])
        return kernel, stride, padding, dilation

    def window(self, sizes, pool):
        """A window that fits, or none. Windows of pools meet the image everywhere."""
        alike = self.rng.random() < 0.65
        axes = [self.one_axis(size, pool) for size in sizes]
        if alike:
            axes = [axes[0]] * len(sizes)
        names = ["kernel_size", "stride", "padding", "dilation"]
        window = {name: [axis[place] for axis in axes] for place, name in enumerate(names)}
        for axis, size in enumerate(sizes):
            extent = (window["kernel_size"][axis] - 1) * window["dilation"][axis] + 1
            if extent > size + 2 * window["padding"][axis]:
                return None
            if pool and not meets_image(size, window, axis):
                return None
        return window

    def push(self, layer, sources, shape):
        """Appends a layer, if its result is within the budget."""
        if math.prod(shape) * self.batch > self.budget.elements:
            return False
        self.layers.append({"name": f"l{len(self.layers)}", "from": sources, **layer})
        self.shapes.append(shape)
        return True

    def conv(self, at):
        rng, shape = self.rng, self.shapes[at]
        window = self.window(shape[1:], pool=False)
        if window is None:
            return False
        groups, channels = 1, shape[0]
        outputs = rng.choice(CHANNELS)
        if rng.random() < 0.3:  # the same shape again, so that sums are possible
            outputs = channels
        kind = rng.random()
        if kind < 0.15:
            groups, outputs = channels, channels * rng.choice([1, 1, 2])
        elif kind < 0.3:
            groups = rng.choice([divisor for divisor in range(1, channels + 1) if channels % divisor == 0])
            outputs = groups * rng.randint(1, 5)
        result = [outputs] + [positions(size, window, axis) for axis, size in enumerate(shape[1:])]
        weight = outputs * (channels // groups) * math.prod(window["kernel_size"])
        products = weight * math.prod(result[1:]) * self.batch
        if weight > self.budget.weight or products > self.budget.products:
            return False
        bias = rng.random() < 0.7
        layer = {"layer": "conv2d", "out_channels": outputs, **window, "groups": groups, "bias": bias}
        return self.push(layer, [at], result)

    def pool(self, at):
        shape = self.shapes[at]
        window = self.window(shape[1:], pool=True)
        if window is None:
            return False
        result = [shape[0]] + [positions(size, window, axis) for axis, size in enumerate(shape[1:])]
        return self.push({"layer": self.rng.choice(["max_pool2d", "avg_pool2d"]), **window}, [at], result)

    def linear(self, at):
        outputs = self.rng.choice(FEATURES)
        if outputs * self.shapes[at][0] > self.budget.weight:
            return False
        layer = {"layer": "linear", "out_features": outputs, "bias": self.rng.random() < 0.75}
        return self.push(layer, [at], [outputs])

    def join(self):
        """A sum or a concatenation of the last value and an earlier one."""
        rng, last = self.rng, len(self.shapes) - 1
        shape = self.shapes[last]
        equal = [at for at in range(last) if self.shapes[at] == shape]
        if equal and rng.random() < 0.6:
            pair = [rng.choice(equal), last]
            rng.shuffle(pair)
            return self.push({"layer": "add"}, pair, shape)
        beside = [at for at in range(last + 1) if self.shapes[at][1:] == shape[1:]]
        parts = [last] + [rng.choice(beside) for _ in range(rng.randint(1, 2))]
        rng.shuffle(parts)
        channels = sum(self.shapes[at][0] for at in parts)
        return self.push({"layer": "concat"}, parts, [channels] + shape[1:])

    def simple(self, at):
        rng, shape = self.rng, self.shapes[at]
        kind = rng.random()
        if kind < 0.15:
            return self.push(rng.choice(ACTIVATIONS), [at], shape)
        if kind < 0.55:
            return self.push({"layer": rng.choice(UNARY + ["relu"])}, [at], shape)
        if kind < 0.85:
            momentum, epsilon = rng.choice([0.1, 0.3, 1.0]), rng.choice([1e-5, 1e-3, 0.125])
            return self.push({"layer": "batch_norm", "epsilon": epsilon, "momentum": momentum}, [at], shape)
        if kind < 0.93:
            return self.push({"layer": "dropout", "rate": rng.choice([0.0, 0.0, 0.0, 0.3])}, [at], shape)
        return self.push({"layer": rng.choice(["softmax", "log_softmax"])}, [at], shape)

    def step(self):
        rng, last = self.rng, len(self.shapes) - 1
        # Mostly on what came last; elsewhere it is a branch, which a join may take up.
        at = last if rng.random() < 0.85 else rng.randint(0, last)
        shape, kind = self.shapes[at], rng.random()
        if kind < 0.15:
            return last > 0 and self.join()
        if kind < 0.5:
            return self.simple(at)
        if len(shape) == 1:
            return self.linear(at)
        if kind < 0.8:
            return self.conv(at)
        if kind < 0.93:
            return self.pool(at)
        return self.to_vector(at)

    def to_vector(self, at):
        shape = self.shapes[at]
        if len(shape) == 3 and self.rng.random() < 0.5:
            self.push({"layer": "global_avg_pool2d"}, [at], [shape[0], 1, 1])
            return self.push({"layer": "flatten"}, [len(self.shapes) - 1], [shape[0]])
        return self.push({"layer": "flatten"}, [at], [math.prod(shape)])

    def first(self):
        rng, kind = self.rng, self.rng.random()
        axes = 0 if kind < 0.12 else 1 if kind < 0.18 else 3 if kind < 0.23 else 2
        while True:
            if axes == 0:
                shape = [rng.choice(FEATURES)]
            else:
                widest = {1: 40, 2: 21, 3: 7}[axes]
                sizes = [rng.choice([1, rng.randint(1, widest), rng.randint(1, widest)]) for _ in range(axes)]
                shape = [rng.choice(CHANNELS)] + sizes
            if math.prod(shape) * self.batch <= self.budget.elements:
                self.shapes.append(shape)
                return


def grow(rng, small):
    """The layers of a stack, and a loss that fits their end."""
    stack = Draw(rng, small)
    stack.first()
    wanted, tries = rng.randint(1, 6 if small else 9), 0
    while len(stack.layers) < wanted and tries < 100:
        stack.step()
        tries += 1
    loss = rng.choice(["cross_entropy", "mean_squared_error"])
    if loss == "cross_entropy":
        if len(stack.shapes[-1]) > 1:
            stack.to_vector(len(stack.shapes) - 1)
        if rng.random() < 0.6:
            stack.linear(len(stack.shapes) - 1)
        if stack.shapes[-1][0] == 1:  # of one class there is nothing to learn
            loss = "mean_squared_error"
    return stack, loss


def draw(rng, small):
    """A stack with what it is trained by: everything the runner needs to build it."""
    learns = {"conv2d", "linear", "batch_norm"}
    for _ in range(10):  # mostly one that has parameters
        stack, loss = grow(rng, small)
        if any(layer["layer"] in learns for layer in stack.layers):
            break
    if not stack.layers:
        stack.push({"layer": "tanh"}, [0], stack.shapes[0])
    outputs = {"y": len(stack.shapes) - 1}
    if rng.random() < 0.25:
        outputs["between"] = rng.randint(1, len(stack.shapes) - 1)
    used = {at for layer in stack.layers for at in layer["from"]} | set(outputs.values())
    for at in range(1, len(stack.shapes)):  # most branches that no join took up
        if at not in used and rng.random() < 0.8:
            outputs[f"end{at}"] = at
    network = {
        "batch": stack.batch,
        "input": stack.shapes[0],
        "layers": stack.layers,
        "outputs": outputs,
        "training": {"loss": loss, "optimizer": optimizer(rng), "output": "y", "frozen": []},
        "learning_rate": float(numpy.float32(rng.choice([0.5, 0.1, 0.03, 0.01, 0.001]))),
        "steps_before": rng.choice([0, 0, 1, 7, 1000]),
        "steps": rng.choice([1, 1, 1, 2]),
    }
    if rng.random() < 0.4:
        network["training"]["clip_norm"] = rng.choice([0.01, 0.3, 1.0, 10.0])
    names = [name for name, _ in parameters(network, stack.shapes)]
    if rng.random() < 0.15 and len(names) > 1:
        network["training"]["frozen"] = sorted(rng.sample(names, rng.randint(1, len(names) - 1)))
    return network, stack.shapes


def optimizer(rng):
    kind = rng.choice(["sgd", "sgd", "adam", "adam_w"])
    decay = rng.choice([0.0, 0.0, 0.01, 0.2])
    if kind == "sgd":
        momentum = rng.choice([0.0, 0.5, 0.9])
        nesterov = momentum > 0 and rng.random() < 0.5
        return {"kind": kind, "momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    betas = rng.choice([(0.9, 0.999), (0.8, 0.95), (0.5, 0.99)])
    epsilon = rng.choice([1e-8, 1e-5, 1e-3])
    return {"kind": kind, "beta1": betas[0], "beta2": betas[1], "epsilon": epsilon, "weight_decay": decay}


def parameters(network, shapes):
    """Names and sizes of all parameters, in the order of the layers."""
    for layer in network["layers"]:
        name, channels = layer["name"], shapes[layer["from"][0]][0]
        match layer["layer"]:
            case "conv2d":
                outputs = layer["out_channels"]
                yield f"{name}.weight", [outputs, channels // layer["groups"]] + layer["kernel_size"]
            case "linear":
                outputs = layer["out_features"]
                yield f"{name}.weight", [outputs, channels]
            case "batch_norm":
                yield f"{name}.weight", [channels]
                yield f"{name}.bias", [channels]
        if layer.get("bias"):
            yield f"{name}.bias", [outputs]


def is_fixed(layer, frozen):
    """Whether a batch normalisation keeps its running statistics in training: where both of its parameters are frozen."""
    return {f"{layer}.weight", f"{layer}.bias"} <= set(frozen)


def numbers(rng, network, shapes):
    """Arrays for all sources of a network and of its training step, by name: f32, labels i32."""
    random = numpy.random.default_rng(rng.getrandbits(64))
    norms = {layer["name"]: shapes[layer["from"][0]][0] for layer in network["layers"] if layer["layer"] == "batch_norm"}
    arrays = {}
    sizes = [network["batch"], *network["input"]]
    match rng.choice(["normal"] * 5 + ["uniform", "integers"]):
        case "normal":
            arrays["x"] = random.normal(size=sizes) * rng.choice([1, 1, 1, 0.1, 10])
        case "uniform":
            arrays["x"] = random.uniform(size=sizes)
        case "integers":
            arrays["x"] = random.integers(-3, 4, size=sizes)
    for name, sizes in parameters(network, shapes):
        layer, role = name.split(".")
        if layer in norms:
            arrays[name] = random.normal(size=sizes) + (1 if role == "weight" else 0)
        elif role == "weight":
            arrays[name] = random.normal(size=sizes) * rng.uniform(0.7, 1.7) / math.sqrt(math.prod(sizes[1:]))
        else:
            arrays[name] = random.normal(size=sizes) * 0.5
    for name, channels in norms.items():
        arrays[f"{name}.running_mean"] = random.normal(size=channels)
        arrays[f"{name}.running_var"] = random.uniform(0.3, 2, size=channels)
    fresh = network["steps_before"] == 0
    kind = network["training"]["optimizer"]
    for name, sizes in parameters(network, shapes):
        moments = {"adam": ["first_moment", "second_moment"], "adam_w": ["first_moment", "second_moment"]}
        states = moments.get(kind["kind"], ["velocity"] if kind.get("momentum") else [])
        for state in states:
            values = random.normal(size=sizes) * 0.1
            if state == "second_moment":
                values = values**2 + 1e-3
            arrays[f"optimizer.{state}.{name}"] = numpy.zeros(sizes) if fresh else values
    arrays = {name: values.astype(numpy.float32) for name, values in arrays.items()}
    last = [network["batch"], *shapes[network["outputs"]["y"]]]
    if network["training"]["loss"] == "cross_entropy":
        arrays["labels"] = random.integers(0, last[1], size=last[0]).astype(numpy.int32)
    else:
        arrays["target"] = random.normal(size=last).astype(numpy.float32)
    return arrays
