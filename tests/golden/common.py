"""Random operands and the format of a layer's case, for `make.py`."""

import torch

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(0)


def normal(*sizes):
    return (torch.randn(*sizes, generator=generator) * 1e4).round() / 1e4


def positive(*sizes):
    return normal(*sizes).abs() + 0.5


def array(tensor):
    if tensor is None:
        return None
    integers = not tensor.is_floating_point()
    values = tensor.detach().flatten().tolist()
    return {
        "sizes": list(tensor.shape),
        "values": values if integers else [float(f"{value:.12g}") for value in values],
        "integers": integers,
    }


def layer(cases, name, op, function, operands, batched=(0,)):
    """Runs `function` on the operands and back from a random gradient of its first result.

    `batched` lists the operands whose first axis is the batch.
    """
    operands = [operand.clone().requires_grad_(operand.is_floating_point()) for operand in operands]
    results = function(*operands)
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    gradient = normal(*results[0].shape) if results[0].dim() else torch.ones(())
    results[0].backward(gradient)
    cases.append(
        {
            "name": name,
            "op": op,
            "batched": list(batched),
            "operands": [array(operand) for operand in operands],
            "results": [array(result) for result in results],
            "gradient": array(gradient),
            "gradients": [array(operand.grad) for operand in operands],
        }
    )


def window(kernel_size, stride, padding, dilation):
    return {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}


def channels(x, vector):
    return vector.reshape(1, -1, *[1] * (x.dim() - 2))
