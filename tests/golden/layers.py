"""Writes `layers.json`, `bilinear.json`, `attention.json` and `recurrent.json`: what PyTorch computes for layers of several operators.

Run with a Python that has torch, from this folder: `python layers.py`. Everything is computed in double precision on
operands of four digits; `compiler/tests/layers.rs` reads the files. Layers are written as Windlass serialises them.
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(3)


def normal(*sizes):
    return (torch.randn(*sizes, generator=generator) * 1e4).round() / 1e4


def array(tensor):
    values = tensor.detach().flatten().tolist()
    return {"sizes": list(tensor.shape), "values": [float(f"{value:.10g}") for value in values]}


cases = []


def layer(description, function, x, **parameters):
    """One layer: `function` gets `x` and the parameters by name."""
    x = normal(*x).requires_grad_()
    parameters = {name: normal(*sizes).requires_grad_() for name, sizes in parameters.items()}
    y = function(x, **parameters)
    gradient = normal(*y.shape)
    y.backward(gradient)
    cases.append(
        {
            "layer": description,
            "x": array(x),
            "parameters": {name: array(value) for name, value in parameters.items()},
            "y": array(y),
            "gradient": array(gradient),
            "x_gradient": array(x.grad),
            "gradients": {name: array(value.grad) for name, value in parameters.items()},
        }
    )


def transposed():
    functions = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]
    for kernel, stride, padding, output_padding, dilation, groups, x, outputs in [
        ([2], [2], [0], [0], [1], 1, (2, 3, 4), 2),
        ([3], [3], [1], [2], [2], 1, (2, 2, 4), 3),
        ([2, 2], [2, 2], [0, 0], [0, 0], [1, 1], 1, (2, 3, 3, 2), 4),
        ([4, 4], [2, 2], [1, 1], [0, 0], [1, 1], 1, (1, 4, 3, 4), 3),
        ([3, 2], [2, 3], [1, 0], [1, 2], [1, 2], 2, (2, 4, 3, 2), 6),
        ([3, 3], [1, 1], [0, 0], [0, 0], [1, 1], 4, (1, 4, 3, 3), 4),
        ([3, 3, 2], [2, 1, 2], [1, 1, 0], [1, 0, 0], [1, 1, 1], 1, (1, 2, 2, 3, 2), 2),
    ]:
        layer(
            {
                "layer": f"conv_transpose{len(kernel)}d",
                "out_channels": outputs,
                "kernel_size": kernel,
                "stride": stride,
                "padding": padding,
                "output_padding": output_padding,
                "dilation": dilation,
                "groups": groups,
            },
            lambda x, weight, bias: functions[len(kernel) - 1](
                x, weight, bias, stride, padding, output_padding, groups, dilation
            ),
            x,
            weight=(x[1], outputs // groups, *kernel),
            bias=(outputs,),
        )


def convolutions():
    for padding, sides, stride in [
        ([[0, 1], [0, 1]], (0, 1, 0, 1), 2),
        ([[2, 0], [1, 3]], (1, 3, 2, 0), 1),
        ("full", (2, 2, 2, 2), 1),
        ("same", (1, 1, 1, 1), 1),
        ("valid", (0, 0, 0, 0), 1),
    ]:
        layer(
            {"layer": "conv2d", "out_channels": 3, "kernel_size": 3, "stride": stride, "padding": padding},
            lambda x, weight, bias: F.conv2d(F.pad(x, sides), weight, bias, stride),
            (2, 2, 6, 5),
            weight=(3, 2, 3, 3),
            bias=(3,),
        )
    layer(
        {"layer": "conv1d", "out_channels": 2, "kernel_size": 4, "padding": "same"},
        lambda x, weight, bias: F.conv1d(x, weight, bias, padding="same"),
        (2, 3, 7),
        weight=(2, 3, 4),
        bias=(2,),
    )


def pools():
    layer(
        {"layer": "max_pool2d", "kernel_size": 3, "stride": 2, "ceil_mode": True},
        lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
        (2, 2, 6, 8),
    )
    layer(
        {"layer": "max_pool2d", "kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True},
        lambda x: F.max_pool2d(x, 2, 2, 1, ceil_mode=True),
        (1, 2, 5, 4),
    )
    layer(
        {"layer": "max_pool1d", "kernel_size": 3, "stride": 3, "ceil_mode": True},
        lambda x: F.max_pool1d(x, 3, 3, ceil_mode=True),
        (2, 2, 7),
    )
    for ceil_mode in (False, True):
        for count in (False, True):
            layer(
                {
                    "layer": "avg_pool2d",
                    "kernel_size": 3,
                    "stride": 2,
                    "padding": 1,
                    "ceil_mode": ceil_mode,
                    "count_include_pad": count,
                },
                lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=ceil_mode, count_include_pad=count),
                (1, 2, 6, 7),
            )
    layer(
        {"layer": "avg_pool3d", "kernel_size": 2, "padding": [1, 0, 1], "count_include_pad": False},
        lambda x: F.avg_pool3d(x, 2, 2, (1, 0, 1), count_include_pad=False),
        (1, 2, 3, 4, 3),
    )
    for power in (1.0, 2.0, 3.0):
        layer(
            {"layer": "lp_pool2d", "kernel_size": 2, "power": power},
            # PyTorch's sums signed powers.
            lambda x: F.lp_pool2d(x.abs(), power, 2),
            (1, 2, 4, 4),
        )
    layer({"layer": "lp_pool1d", "kernel_size": 3, "stride": 2}, lambda x: F.lp_pool1d(x, 2, 3, 2), (2, 2, 7))
    layer(
        {"layer": "subsample2d", "kernel_size": 2},
        lambda x, weight, bias: F.avg_pool2d(x, 2) * 4 * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1),
        (2, 3, 4, 6),
        weight=(3,),
        bias=(3,),
    )
    for size, x in [([2], (2, 2, 6)), ([5], (2, 2, 7))]:
        layer({"layer": "adaptive_avg_pool1d", "output_size": size}, lambda x: F.adaptive_avg_pool1d(x, size), x)
        layer({"layer": "adaptive_max_pool1d", "output_size": size}, lambda x: F.adaptive_max_pool1d(x, size), x)
    for size, x in [([3, 2], (1, 2, 6, 4)), ([3, 4], (1, 2, 7, 6))]:
        layer({"layer": "adaptive_avg_pool2d", "output_size": size}, lambda x: F.adaptive_avg_pool2d(x, size), x)
        layer({"layer": "adaptive_max_pool2d", "output_size": size}, lambda x: F.adaptive_max_pool2d(x, size), x)
    layer(
        {"layer": "adaptive_avg_pool3d", "output_size": [2, 1, 2]},
        lambda x: F.adaptive_avg_pool3d(x, [2, 1, 2]),
        (1, 2, 3, 4, 2),
    )
    layer({"layer": "global_max_pool2d"}, lambda x: F.adaptive_max_pool2d(x, 1), (2, 3, 4, 3))
    layer({"layer": "global_avg_pool1d"}, lambda x: F.adaptive_avg_pool1d(x, 1), (2, 3, 4))


def spatial():
    for mode, torch_mode in [("zeros", "constant"), ("reflect", "reflect"), ("replicate", "replicate")]:
        layer(
            {"layer": "pad2d", "padding": [[1, 2], [2, 0]], "mode": mode},
            lambda x: F.pad(x, (2, 0, 1, 2), torch_mode),
            (1, 2, 3, 4),
        )
    layer({"layer": "pad1d", "padding": [2, 1], "mode": "reflect"}, lambda x: F.pad(x, (2, 1), "reflect"), (2, 2, 4))
    layer(
        {"layer": "pad3d", "padding": 1, "mode": "replicate"},
        lambda x: F.pad(x, (1,) * 6, "replicate"),
        (1, 1, 2, 1, 3),
    )
    layer(
        {"layer": "upsample1d", "factor": 3},
        lambda x: F.interpolate(x, scale_factor=3, mode="nearest"),
        (2, 2, 4),
    )
    layer(
        {"layer": "upsample2d", "factor": [2, 3]},
        lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"),
        (1, 2, 3, 2),
    )
    for factor in ([2, 2], [3, 2], [4, 1], [5, 3]):
        layer(
            {"layer": "upsample2d", "factor": factor, "mode": "linear"},
            lambda x: F.interpolate(x, scale_factor=tuple(factor), mode="bilinear"),
            (1, 2, 3, 2),
        )
    layer(
        {"layer": "upsample1d", "factor": 2, "mode": "linear"},
        lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
        (2, 1, 5),
    )
    layer(
        {"layer": "upsample3d", "factor": 2, "mode": "linear"},
        lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"),
        (1, 1, 2, 3, 2),
    )
    layer({"layer": "pixel_shuffle", "factor": 2}, lambda x: F.pixel_shuffle(x, 2), (1, 8, 2, 3))
    layer({"layer": "channel_shuffle", "groups": 3}, lambda x: F.channel_shuffle(x, 3) * 1, (1, 6, 2, 2))
    layer({"layer": "reshape", "sizes": [2, 6]}, lambda x: x.reshape(-1, 2, 6), (2, 3, 4))
    layer({"layer": "permute", "order": [2, 0, 1]}, lambda x: x.permute(0, 3, 1, 2), (2, 2, 3, 4))
    layer({"layer": "slice", "start": 1, "length": 2}, lambda x: x[:, 1:3], (2, 4, 3))
    layer({"layer": "slice", "start": 2, "length": 1, "axis": 1}, lambda x: x[:, :, 2:3], (2, 4, 3))
    layer({"layer": "mean", "axes": [1, 2]}, lambda x: x.mean((2, 3)), (2, 3, 2, 4))
    layer({"layer": "mean", "axes": [0, 2]}, lambda x: x.mean((1, 3)), (2, 3, 2, 4))


def norms():
    for x in [(3, 5), (2, 3, 4, 2)]:
        layer(
            {"layer": "layer_norm", "epsilon": 0.125},
            lambda x, weight, bias: F.layer_norm(x, x.shape[1:], weight, bias, 0.125),
            x,
            weight=x[1:],
            bias=x[1:],
        )
    # At each step of a sequence.
    layer(
        {"layer": "layer_norm"},
        lambda x, weight, bias: F.layer_norm(x, x.shape[2:], weight, bias),
        (2, 3, 5),
        weight=(5,),
        bias=(5,),
    )
    layer({"layer": "layer_norm", "affine": False}, lambda x: F.layer_norm(x, x.shape[1:]), (3, 6))
    for groups in (1, 2, 6):
        layer(
            {"layer": "group_norm", "groups": groups},
            lambda x, weight, bias: F.group_norm(x, groups, weight, bias),
            (2, 6, 3, 2),
            weight=(6,),
            bias=(6,),
        )
    layer({"layer": "group_norm", "groups": 2, "affine": False}, lambda x: F.group_norm(x, 2), (2, 4, 5))
    layer({"layer": "instance_norm"}, lambda x: F.instance_norm(x), (2, 3, 2, 4))
    layer(
        {"layer": "instance_norm", "affine": True},
        lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias),
        (2, 3, 7),
        weight=(3,),
        bias=(3,),
    )
    for size in (1, 2, 5):
        layer(
            {"layer": "local_response_norm", "size": size, "alpha": 0.25, "beta": 0.75, "k": 2.0},
            lambda x: F.local_response_norm(x, size, 0.25, 0.75, 2.0),
            (2, 6, 2, 3),
        )


def true_convolutions():
    functions = [F.conv1d, F.conv2d, F.conv3d]
    for kernel, stride, padding, dilation, groups, x, outputs in [
        ([3], [2], [1], [2], 1, (2, 2, 8), 3),
        ([4, 3], [1, 2], [2, 0], [1, 1], 1, (2, 2, 5, 6), 3),
        ([3, 3], [1, 1], [1, 1], [2, 1], 2, (1, 4, 6, 4), 2),
        ([1, 2], [1, 1], [0, 0], [1, 1], 3, (1, 3, 3, 3), 3),
        ([2, 1, 3], [1, 1, 2], [0, 1, 1], [1, 1, 1], 1, (1, 2, 3, 2, 4), 2),
    ]:
        layer(
            {
                "layer": f"conv{len(kernel)}d",
                "out_channels": outputs,
                "kernel_size": kernel,
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "groups": groups,
                "rotated": True,
            },
            lambda x, weight, bias: functions[len(kernel) - 1](
                x, weight.flip(list(range(2, weight.dim()))), bias, stride, padding, dilation, groups
            ),
            x,
            weight=(outputs, x[1] // groups, *kernel),
            bias=(outputs,),
        )


def connections():
    for lists, inputs, kernel, rotated in [
        # As in the third layer of LeNet-5, for fewer channels.
        ([[0, 1], [1, 2], [0, 2], [0, 1, 2]], 3, [3, 2], False),
        ([[3], [0, 2], [1, 2, 3]], 4, [2, 2], True),
        ([[0], [0]], 1, [2, 1], False),
        ([[1], [0, 3]], 4, [3], False),
        ([[0, 1], [1]], 2, [1, 2, 2], False),
    ]:
        count = sum(len(channels) for channels in lists)
        function = [F.conv1d, F.conv2d, F.conv3d][len(kernel) - 1]

        def connected(x, weight, bias):
            results, first = [], 0
            for channels in lists:
                own = weight[first : first + len(channels), 0]
                own = own.flip(list(range(1, own.dim()))) if rotated else own
                results.append(function(x[:, channels], own.unsqueeze(0), padding=1))
                first += len(channels)
            return torch.cat(results, 1) + bias.view(1, -1, *(1 for _ in kernel))

        description = {
            "layer": f"conv{len(kernel)}d",
            "out_channels": len(lists),
            "kernel_size": kernel,
            "padding": 1,
            "connections": lists,
        }
        if rotated:
            description["rotated"] = True
        sizes = (2, inputs, 5, 4, 3)[: len(kernel) + 2]
        layer(description, connected, sizes, weight=(count, 1, *kernel), bias=(len(lists),))


def distances():
    for x, outputs in [((3, 5), 4), ((2, 3, 4), 2)]:
        layer(
            {"layer": "rbf", "out_features": outputs},
            lambda x, weight: (x.unsqueeze(-2) - weight).square().sum(-1),
            x,
            weight=(outputs, x[-1]),
        )


def bilinear():
    """Bilinear forms, which have two inputs."""
    forms = []
    for inputs, others, outputs, bias in [(3, 4, 2, True), (1, 5, 3, True), (4, 2, 1, False)]:
        x, y = (normal(3, size).requires_grad_() for size in (inputs, others))
        parameters = {"weight": normal(outputs, inputs, others).requires_grad_()}
        if bias:
            parameters["bias"] = normal(outputs).requires_grad_()
        z = F.bilinear(x, y, **parameters)
        gradient = normal(*z.shape)
        z.backward(gradient)
        forms.append(
            {
                "x": array(x),
                "y": array(y),
                "parameters": {name: array(value) for name, value in parameters.items()},
                "z": array(z),
                "gradient": array(gradient),
                "x_gradient": array(x.grad),
                "y_gradient": array(y.grad),
                "gradients": {name: array(value.grad) for name, value in parameters.items()},
            }
        )
    return forms


def recurrent():
    for description, module in [
        ({"layer": "rnn"}, nn.RNN),
        ({"layer": "rnn", "activation": "relu", "layers": 2}, nn.RNN),
        ({"layer": "rnn", "bidirectional": True, "bias": False}, nn.RNN),
        ({"layer": "gru"}, nn.GRU),
        ({"layer": "gru", "layers": 2, "bidirectional": True}, nn.GRU),
        ({"layer": "lstm"}, nn.LSTM),
        ({"layer": "lstm", "layers": 2, "bidirectional": True}, nn.LSTM),
        ({"layer": "lstm", "projection": 2, "layers": 2}, nn.LSTM),
        ({"layer": "lstm", "bias": False, "bidirectional": True, "projection": 3}, nn.LSTM),
    ]:
        options = {"num_layers": description.get("layers", 1), "batch_first": True}
        for ours, theirs in [
            ("activation", "nonlinearity"),
            ("bidirectional", "bidirectional"),
            ("bias", "bias"),
            ("projection", "proj_size"),
        ]:
            if ours in description:
                options[theirs] = description[ours]
        cell = module(3, 4, **options)
        sizes = {name: tuple(value.shape) for name, value in cell.named_parameters()}
        layer(
            {**description, "units": 4},
            lambda x, **parameters: torch.func.functional_call(cell, parameters, (x,))[0],
            (2, 5, 3),
            **sizes,
        )

    def steps(cell, states):
        def function(x, **parameters):
            state, results = tuple(torch.zeros(x.shape[0], 4) for _ in range(states)), []
            for step in range(x.shape[1]):
                state = cell(x[:, step], *state, **parameters)
                results.append(state[0])
            return torch.stack(results, 1)

        return function

    def gru_reset_before(x, h, weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0):
        """Cho et al. 2014, in the order of gates of PyTorch."""
        of_x = (x @ weight_ih_l0.T + bias_ih_l0 + bias_hh_l0).chunk(3, 1)
        hidden = weight_hh_l0.chunk(3, 0)
        r, z = ((of_x[gate] + h @ hidden[gate].T).sigmoid() for gate in (0, 1))
        n = (of_x[2] + (r * h) @ hidden[2].T).tanh()
        return ((1 - z) * n + z * h,)

    def lstm_peepholes(x, h, c, weight_ci_l0, weight_cf_l0, weight_co_l0, weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0):
        """Gers and Schmidhuber 2000."""
        gates = x @ weight_ih_l0.T + bias_ih_l0 + h @ weight_hh_l0.T + bias_hh_l0
        i, f, g, o = gates.chunk(4, 1)
        c = (f + c * weight_cf_l0).sigmoid() * c + (i + c * weight_ci_l0).sigmoid() * g.tanh()
        return (o + c * weight_co_l0).sigmoid() * c.tanh(), c

    def weights(gates):
        return {
            "weight_ih_l0": (gates * 4, 3),
            "weight_hh_l0": (gates * 4, 4),
            "bias_ih_l0": (gates * 4,),
            "bias_hh_l0": (gates * 4,),
        }

    layer({"layer": "gru", "units": 4, "reset": "before"}, steps(gru_reset_before, 1), (3, 4, 3), **weights(3))
    peepholes = {f"weight_c{gate}_l0": (4,) for gate in "ifo"}
    layer({"layer": "lstm", "units": 4, "peepholes": True}, steps(lstm_peepholes, 2), (2, 4, 3), **weights(4), **peepholes)
    layer({"layer": "last_step"}, lambda x: x[:, -1], (2, 4, 3))


def heads(x, key, value, count, features, causal, padding, parameters):
    """Attention with several heads of batches first, by the function behind `nn.MultiheadAttention`."""
    separate = "in_proj_weight" not in parameters
    mask = torch.ones(x.shape[1], key.shape[1], dtype=torch.bool).triu(1) if causal else None
    y, _ = F.multi_head_attention_forward(
        x.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        features,
        count,
        parameters.get("in_proj_weight"),
        parameters.get("in_proj_bias"),
        None,
        None,
        False,
        0.0,
        parameters["out_proj.weight"],
        parameters.get("out_proj.bias"),
        key_padding_mask=padding,
        need_weights=False,
        attn_mask=mask,
        use_separate_proj_weight=separate,
        q_proj_weight=parameters.get("q_proj_weight"),
        k_proj_weight=parameters.get("k_proj_weight"),
        v_proj_weight=parameters.get("v_proj_weight"),
    )
    return y.transpose(0, 1)


def projections(features, bias):
    sizes = {"in_proj_weight": (3 * features, features), "out_proj.weight": (features, features)}
    if bias:
        sizes |= {"in_proj_bias": (3 * features,), "out_proj.bias": (features,)}
    return sizes


def self_attention():
    for (batch, steps, features), count, bias, causal in [
        ((2, 5, 8), 2, True, False),
        ((1, 3, 4), 1, True, True),
        ((3, 1, 16), 4, False, False),
        ((2, 6, 12), 3, False, True),
    ]:
        layer(
            {"layer": "multi_head_attention", "heads": count, "bias": bias, "causal": causal},
            lambda x, **parameters: heads(x, x, x, count, features, causal, None, parameters),
            (batch, steps, features),
            **projections(features, bias),
        )


def positions():
    for steps, features in [(9, 6), (4, 5), (33, 1)]:
        pairs = 2 * (torch.arange(features) // 2).double()
        angles = torch.arange(steps).double()[:, None] * 10000.0 ** (-pairs / features)
        odd = torch.arange(features) % 2 == 1
        encoding = torch.where(odd, angles.cos(), angles.sin())
        layer({"layer": "positional_encoding"}, lambda x: x + encoding, (2, steps, features))


def attention():
    """Attention between two sequences, with lengths of the second."""
    forms = []
    for kind, (q, k, v), (steps, positions), options in [
        ("attention", (4, 4, 3), (3, 5), {}),
        ("attention", (5, 5, 2), (4, 4), {"causal": True}),
        ("attention", (4, 4, 4), (2, 6), {"lengths": [6, 1]}),
        ("additive_attention", (3, 4, 2), (3, 5), {"hidden": 6}),
        ("additive_attention", (2, 2, 2), (4, 3), {"hidden": 3, "lengths": [2, 3]}),
        ("multi_head_attention", (8, 8, 8), (4, 6), {"heads": 2, "lengths": [6, 3]}),
        ("multi_head_attention", (12, 5, 7), (3, 4), {"heads": 3}),
        ("multi_head_attention", (8, 3, 3), (4, 5), {"heads": 2, "causal": True, "lengths": [2, 5]}),
    ]:
        query = normal(2, steps, q).requires_grad_()
        key, value = (normal(2, positions, size).requires_grad_() for size in (k, v))
        causal, lengths = options.get("causal", False), options.get("lengths")
        ignored = torch.zeros(2, 1, positions, dtype=torch.bool)
        if lengths:
            ignored = torch.arange(positions)[None, None, :] >= torch.tensor(lengths)[:, None, None]
        parameters = {}
        if kind == "additive_attention":
            hidden = options["hidden"]
            sizes = {"query.weight": (hidden, q), "key.weight": (hidden, k), "score.weight": (1, hidden)}
        elif kind == "multi_head_attention":
            sizes = projections(q, True)
            if (q, q) != (k, v):
                del sizes["in_proj_weight"]
                sizes |= {f"{name}_proj_weight": (q, size) for name, size in zip("qkv", (q, k, v))}
        else:
            sizes = {}
        parameters = {name: normal(*size).requires_grad_() for name, size in sizes.items()}
        if causal:
            after = torch.ones(steps, positions, dtype=torch.bool).triu(1)
        else:
            after = torch.zeros(steps, positions, dtype=torch.bool)
        if kind == "multi_head_attention":
            y = heads(query, key, value, options["heads"], q, causal, ignored[:, 0], parameters)
        elif kind == "attention":
            y = F.scaled_dot_product_attention(query, key, value, attn_mask=~(ignored | after))
        else:
            terms = (query @ parameters["query.weight"].T)[:, :, None]
            terms = terms + (key @ parameters["key.weight"].T)[:, None]
            scores = (terms.tanh() @ parameters["score.weight"].T).squeeze(-1)
            y = scores.masked_fill(ignored | after, -torch.inf).softmax(-1) @ value
        gradient = normal(*y.shape)
        y.backward(gradient)
        forms.append(
            {
                "kind": kind,
                **options,
                "operands": [array(query), array(key), array(value)],
                "parameters": {name: array(value) for name, value in parameters.items()},
                "y": array(y),
                "gradient": array(gradient),
                "operand_gradients": [array(operand.grad) for operand in (query, key, value)],
                "gradients": {name: array(value.grad) for name, value in parameters.items()},
            }
        )
    return forms


def write(name, values):
    text = ",\n".join(json.dumps(value, separators=(",", ":")) for value in values)
    (Path(__file__).parent / name).write_text(f"[\n{text}\n]\n")


transposed()
convolutions()
pools()
spatial()
norms()
true_convolutions()
connections()
distances()
forms = bilinear()
self_attention()
positions()
write("layers.json", cases)
write("bilinear.json", forms)
write("attention.json", attention())
cases.clear()
generator.manual_seed(5)
recurrent()
write("recurrent.json", cases)
