"""The task-batched layers against torch's own, task by task, with their derivatives."""

from __future__ import annotations

import pytest
import runs
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from mamlbench.errors import BadValue
from mamlbench.networks import Rows, patches_at_once, patches_in_tiles, row_sums
from mamlbench.networks.batch_norm import Then
from mamlbench.networks.layers import Conv2d, Linear, Norm
from mamlbench.networks.task_linear import task_linear

F64, TASKS = torch.float64, 3
CLOSE = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture(autouse=True, params=["kernels", "formulas", "gpu formulas"])
def path(request, monkeypatch):
    """Compiled kernels, and torch operations as used without a compiler and on a GPU."""
    torch.manual_seed(3)
    if request.param != "kernels":
        for module in ("batch_norm", "convolution"):
            monkeypatch.setattr(f"mamlbench.networks.{module}.available", lambda x: False)
        for module in ("convolution", "row_sums"):
            own = request.param == "formulas"
            monkeypatch.setattr(f"mamlbench.networks.{module}.on_cpu", lambda x, own=own: own)
    else:
        runs.needing_kernels()


only_formulas = pytest.mark.parametrize("path", ["formulas"], indirect=True)


def random(*shape):
    return torch.randn(*shape, dtype=F64, requires_grad=True)


def per_task(layer: nn.Module, tasks: int = TASKS) -> dict[str, torch.Tensor]:
    return {name: random(tasks, *p.shape) for name, p in layer.named_parameters()}


def assert_same_with_derivatives(ours, theirs, inputs):
    """Values, first and second derivatives of two functions of the same tensors."""
    outputs, first = [], []
    for function in (ours, theirs):
        y = function(*inputs)
        weights = torch.linspace(-1, 1, y.numel(), dtype=F64).view(y.shape)
        gradient = torch.autograd.grad((weights * y.sin()).sum(), inputs, create_graph=True)
        total = sum((g * g * torch.linspace(1, 2, g.numel()).view(g.shape)).sum() for g in gradient)
        second = torch.autograd.grad(total, inputs, allow_unused=True)
        outputs.append(y)
        first.append((gradient, second))
    torch.testing.assert_close(*outputs, **CLOSE)
    for mine, other in zip(*first, strict=True):
        for a, b in zip(mine, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def same_padding(x, kernel: int, stride: int):
    """TensorFlow's SAME, for images [M, C, H, W]: an odd row or column is added after the last."""
    pads = []
    for side in (x.shape[-1], x.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def channels_first(x):
    return x.movedim(-1, -3)


# --- linear and convolution -----------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_linear(shared):
    layer = Linear(4, 2)
    params = per_task(layer)
    if shared:
        params = {name: p[0].detach().requires_grad_() for name, p in params.items()}
    names = list(params)

    def ours(x, *values):
        return functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    def theirs(x, weight, bias):
        each = [(weight, bias) if shared else (weight[t], bias[t]) for t in range(TASKS)]
        return torch.stack([F.linear(x[t], *each[t]) for t in range(TASKS)])

    assert_same_with_derivatives(ours, theirs, [random(TASKS, 5, 4), *params.values()])


def test_linear_by_differences():
    inputs = random(2, 3, 4), random(2, 5, 4), random(2, 5)
    assert gradcheck(task_linear, inputs)
    assert gradgradcheck(task_linear, inputs)


def test_linear_in_the_third_order():
    """Derivatives of derivatives are those of torch's own formula."""

    def second(function):
        def of(x, weight, bias):
            y = function(x, weight, bias)
            first = torch.autograd.grad(y.pow(3).sum(), (x, weight, bias), create_graph=True)
            return torch.cat([g.flatten() for g in first])

        return of

    def theirs(x, weight, bias):
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    inputs = [random(2, 3, 4), random(2, 5, 4), random(2, 5)]
    assert_same_with_derivatives(second(task_linear), second(theirs), inputs)


def test_derivatives_of_matrices_lie_in_memory_as_the_matrices():
    """With another memory layout, sums over tasks take thirty times as long."""
    x, weight, bias = random(2, 3, 4), random(2, 5, 4), random(2, 5)
    y = task_linear(x, weight, bias)
    gradients = torch.autograd.grad(y.pow(3).sum(), (x, weight), create_graph=True)
    again = torch.autograd.grad(sum(g.pow(2).sum() for g in gradients), (x, weight))
    assert all(g.is_contiguous() for g in (*gradients, *again))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("size", [(6, 6), (5, 5), (5, 4), (1, 2), (7, 3)])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution(stride, size, shared):
    layer = Conv2d(2, 3, stride)
    params = per_task(layer)
    if shared:
        params = {name: p[0].detach().requires_grad_() for name, p in params.items()}
    names = list(params)

    def ours(x, *values):
        return functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    def theirs(x, weight, bias):
        outputs = []
        for task in range(TASKS):
            padded = same_padding(channels_first(x[task]), 3, stride)
            own = (weight, bias) if shared else (weight[task], bias[task])
            outputs.append(F.conv2d(padded, *own, stride=stride).movedim(1, -1))
        return torch.stack(outputs)

    x = random(TASKS, 2, *size, 2)
    assert ours(x, *params.values()).shape[2:4] == tuple(-(-s // stride) for s in size)
    assert_same_with_derivatives(ours, theirs, [x, *params.values()])


@pytest.mark.usefixtures("_keep_threads")
@pytest.mark.parametrize("path", ["kernels"], indirect=True)
@pytest.mark.parametrize(("size", "channels", "stride"), [(9, 3, 1), (28, 1, 2), (7, 24, 2)])
def test_a_task_is_computed_alike_in_any_company(size, channels, stride):
    """Bit for bit: alone or with others, on one thread or several, with derivatives."""
    conv, norm = Conv2d(channels, 20, stride), Norm(20, "batch", "scale_shift")
    then = Then(relu=True, pool=stride == 1)
    params = [p.detach().float() for p in (*per_task(conv).values(), *per_task(norm).values())]
    x = torch.randn(TASKS, 7, size, size, channels)

    def outputs(tasks: slice, threads: int) -> list[torch.Tensor]:
        torch.set_num_threads(threads)
        inputs = [p[tasks].clone().requires_grad_() for p in (x, *params)]
        weight, bias, scale, shift = inputs[1:]
        y = functional_call(conv, {"weight": weight, "bias": bias}, (inputs[0],))
        y = functional_call(norm, {"weight": scale, "bias": shift}, (y, Rows(), then))
        first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in first), inputs)
        return [y, *first, *second]

    together = outputs(slice(None), 2)
    for task in range(TASKS):
        for threads in (1, 2, 3):
            alone = outputs(slice(task, task + 1), threads)
            for a, b in zip(alone, together, strict=True):
                assert torch.equal(a[0], b[task])


def test_strided_convolution_by_hand():
    """One 4x4 image of ones under a kernel of ones: only the last row and column are padded."""
    layer = Conv2d(1, 1, 2).double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
        y = layer(torch.ones(1, 1, 4, 4, 1, dtype=F64))
    assert y.flatten().tolist() == [9.0, 6.0, 6.0, 4.0]


@pytest.mark.parametrize(("channels", "outputs"), [(1, 20), (3, 16), (7, 5), (8, 33), (19, 40)])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_of_any_width(stride, channels, outputs):
    """Numbers of channels that fill vectors and tiles, and that do not; more pixels than a tile."""
    layer = Conv2d(channels, outputs, stride)
    params = per_task(layer)

    def ours(x, *values):
        return functional_call(layer, dict(zip(params, values, strict=True)), (x,))

    def theirs(x, weight, bias):
        padded = [same_padding(channels_first(images), 3, stride) for images in x]
        pairs = zip(padded, weight, bias, strict=True)
        return torch.stack([F.conv2d(*one, stride=stride).movedim(1, -1) for one in pairs])

    inputs = [random(TASKS, 3, 9, 8, channels), *params.values()]
    assert_same_with_derivatives(ours, theirs, inputs)


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_by_differences(stride):
    layer = Conv2d(1, 2, stride)

    def convolve(x, weight, bias):
        return functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = random(2, 1, 3, 4, 1), random(2, 2, 1, 3, 3), random(2, 2)
    assert gradcheck(convolve, inputs)
    assert gradgradcheck(convolve, inputs)


@only_formulas
@pytest.mark.parametrize("images", [1, 2, 5, 100])
@pytest.mark.parametrize("rows", [1, 4, 5])
@pytest.mark.parametrize("channels", [1, 5])
def test_tiles_of_any_size_give_the_same(monkeypatch, images, rows, channels):
    layer = Conv2d(channels, 3, 2)
    params = per_task(layer)

    def with_room_for(images):  # for the derivatives too, which are taken after the call
        def call(x, *values):
            monkeypatch.setattr(patches_in_tiles, "_PATCH_BYTES", images * 3 * 2 * 9 * channels * 8)
            return functional_call(layer, dict(zip(params, values, strict=True)), (x,))

        return call

    inputs = [random(TASKS, rows, 5, 4, channels), *params.values()]
    assert_same_with_derivatives(with_room_for(images), with_room_for(10**6), inputs)


@pytest.mark.parametrize("path", ["gpu formulas"], indirect=True)
def test_products_taken_apart_or_not_give_the_same(monkeypatch):
    layer = Conv2d(2, 3, 2)
    params = per_task(layer)

    def taken_apart_below(outputs):
        def call(x, *values):
            monkeypatch.setattr(patches_at_once, "_ENOUGH_OUTPUTS", outputs)
            return functional_call(layer, dict(zip(params, values, strict=True)), (x,))

        return call

    inputs = [random(TASKS, 4, 5, 4, 2), *params.values()]
    assert_same_with_derivatives(taken_apart_below(0), taken_apart_below(10**6), inputs)


def test_sums_over_rows_side_by_side_or_not(monkeypatch):
    monkeypatch.setattr(row_sums, "_LONG", 6)
    for rows in (1, 5, 6, 7, 64, 150):
        x = torch.randn(2, rows, 3, dtype=F64)
        torch.testing.assert_close(row_sums.row_sum(x), x.sum(1, True), **CLOSE)
        torch.testing.assert_close(row_sums.row_mean(x), x.mean(1, True), **CLOSE)
        mean_square = x.square().mean(1, True)
        torch.testing.assert_close(row_sums.row_mean_square(x), mean_square, **CLOSE)


@only_formulas
def test_tiles_cover_every_row_once():
    for tasks, rows, images in ((3, 5, 2), (3, 5, 5), (3, 5, 9), (7, 2, 5), (4, 1, 100), (2, 0, 3)):
        seen = torch.zeros(tasks, rows, dtype=torch.int)
        for task, row in patches_in_tiles._tiles(tasks, rows, images):
            seen[task, row] += 1
            assert seen[task, row].numel() <= max(images, 1)
        assert (seen == 1).all()


# --- pooling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(4, 4), (5, 5), (5, 2)])
@pytest.mark.parametrize("same", [False, True])
def test_max_pool(same, size):
    def theirs(x):
        images = channels_first(x.flatten(0, 1))
        odd = [0, size[1] % 2, 0, size[0] % 2] if same else [0, 0, 0, 0]
        padded = F.pad(images, odd, value=float("-inf"))
        return F.max_pool2d(padded, 2).movedim(1, -1).unflatten(0, x.shape[:2])

    pool = Then(pool=True, keep_odd=same)
    assert_same_with_derivatives(pool, theirs, [random(TASKS, 2, *size, 3)])


# --- normalisation --------------------------------------------------------------------------------


def norm_call(layer: Norm, rows: Rows = Rows()):  # noqa: B008
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *values):
        return functional_call(layer, dict(zip(names, values, strict=True)), (x, rows))

    return call


def torch_batch_norm(x, weight, bias, eps):
    """Each entry of the first dimension is one batch."""
    outputs = []
    for task in range(len(x)):
        own = [p if p is None or p.dim() == 1 else p[task] for p in (weight, bias)]
        flat = x[task].movedim(-1, 1)
        y = F.batch_norm(flat, None, None, *own, training=True, eps=eps)
        outputs.append(y.movedim(1, -1))
    return torch.stack(outputs)


@pytest.mark.parametrize("tasks", [1, TASKS])
@pytest.mark.parametrize("affine", ["none", "shift", "scale_shift"])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 3)])
def test_batch_norm(shape, affine, tasks):
    """`shape` is one task's rows without channels; a single task of images has its own path."""
    layer = Norm(2, "batch", affine)
    params = per_task(layer, tasks)
    inputs = [random(tasks, *shape, 2), *params.values()]

    def theirs(x, *values):
        given = dict(zip(params, values, strict=True))
        weight = given.get("weight", torch.ones(2, dtype=F64))
        return torch_batch_norm(x, weight, given.get("bias"), 1e-3)

    assert_same_with_derivatives(norm_call(layer), theirs, inputs)


@pytest.mark.parametrize("affine", ["none", "shift", "scale_shift"])
def test_batch_norm_in_the_third_order(affine):
    """Our formula for the gradient's gradient can be differentiated again."""
    layer = Norm(2, "batch", affine)
    params = per_task(layer)
    inputs = [random(TASKS, 4, 2), *params.values()]

    def gradient(*values):
        y = norm_call(layer)(*values)
        return torch.autograd.grad(y.pow(3).sum(), values, create_graph=True)

    assert torch.autograd.gradgradcheck(gradient, inputs)


THEN = [
    Then(relu=True),
    Then(pool=True),
    Then(relu=True, pool=True),
    Then(relu=True, pool=True, keep_odd=True),
]


@pytest.mark.parametrize("size", [(4, 4), (5, 5), (5, 2), (1, 3)])
@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("shared", [False, True])
def test_batch_norm_and_what_follows(shared, then, size):
    """11 channels fill whole vectors and part of one, whatever the vectors' length."""
    if then.pool and not then.keep_odd and min(size) < 2:
        return
    layer = Norm(11, "batch", "scale_shift")
    params = per_task(layer)
    if shared:
        params = {name: p[0].detach().requires_grad_() for name, p in params.items()}

    def ours(x, *values):
        return functional_call(layer, dict(zip(params, values, strict=True)), (x, Rows(), then))

    def theirs(x, weight, bias):
        y = torch_batch_norm(x, weight, bias, 1e-3)
        y = torch.where(y > 0, y, 0) if then.relu else y
        if not then.pool:
            return y
        pooled = F.max_pool2d(channels_first(y).flatten(0, 1), 2, ceil_mode=then.keep_odd)
        return pooled.movedim(1, -1).unflatten(0, y.shape[:2])

    assert_same_with_derivatives(ours, theirs, [random(TASKS, 2, *size, 11), *params.values()])


@pytest.mark.parametrize("then", THEN)
def test_what_follows_in_the_third_order(then):
    layer = Norm(1, "batch", "scale_shift")
    params = per_task(layer, 2)

    def gradient(x, *values):
        given = dict(zip(params, values, strict=True))
        y = functional_call(layer, given, (x, Rows(), then))
        return torch.autograd.grad(y.pow(3).sum(), (x, *values), create_graph=True)

    assert torch.autograd.gradgradcheck(gradient, [random(2, 1, 3, 3, 1), *params.values()])


@pytest.mark.parametrize("then", [Then(), Then(True, True)])
@pytest.mark.parametrize("tasks", [1, TASKS])
def test_batches_of_many_rows(tasks, then):
    """More rows than are summed at a time, with all values far from zero."""
    layer = Norm(3, "batch", "scale_shift")
    params = per_task(layer, tasks)

    def ours(x, *values):
        return functional_call(layer, dict(zip(params, values, strict=True)), (x, Rows(), then))

    def theirs(x, weight, bias):
        return then(torch_batch_norm(x, weight, bias, 1e-3))

    x = (100 + random(tasks, 7, 11, 13, 3)).detach().requires_grad_()
    assert_same_with_derivatives(ours, theirs, [x, *params.values()])


@pytest.mark.parametrize("then", [Then(relu=True), Then(relu=True, pool=True)])
def test_what_is_not_finite_stays_so(then):
    x = random(TASKS, 1, 4, 4, 9).detach()
    x[1, 0, 2, 3, 4] = float("nan")
    y = Norm(9, "batch", "none")(x, Rows(), then)
    broken = y.isnan().flatten(1, 3).all(1)
    expected = torch.zeros(TASKS, 9, dtype=torch.bool)
    expected[1, 4] = True
    assert torch.equal(broken, expected)
    assert torch.equal(y.isnan().flatten(1, 3).any(1), expected)


def test_of_equal_values_the_first_is_the_largest():
    """As in torch: the gradient of a uniform background goes to one pixel."""
    layer = Norm(1, "batch", "shift").double()
    with torch.no_grad():
        layer.bias.fill_(1.0)
    x = torch.zeros(1, 1, 2, 2, 1, dtype=F64, requires_grad=True)
    v = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=F64).view(1, 1, 2, 2, 1)
    y = layer(x, Rows(), Then(relu=True, pool=True))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    scale = 1e-3**-0.5  # with a variance of zero
    expected = scale * (torch.tensor([1.0, 0, 0, 0], dtype=F64) - 0.25)
    torch.testing.assert_close(gradient.flatten(), expected, **CLOSE)
    assert float((gradient * v).sum()) == pytest.approx(scale * (1 - 2.5))


def test_batch_norm_of_groups_of_rows():
    layer = Norm(2, "batch", "scale_shift")
    params, x = per_task(layer), random(TASKS, 6, 3, 3, 2)
    found = norm_call(layer, Rows(groups=3))(x, *params.values())
    for group in range(3):
        rows = slice(2 * group, 2 * group + 2)
        expected = torch_batch_norm(x[:, rows], params["weight"], params["bias"], 1e-3)
        torch.testing.assert_close(found[:, rows], expected, **CLOSE)


@pytest.mark.parametrize("shape", [(5,), (5, 3, 3)])
def test_rows_normalised_by_the_first_ones(shape):
    layer = Norm(2, "support", "none")
    x = random(TASKS, *shape, 2)
    found = layer(x, Rows(reference=3))
    for task in range(TASKS):
        given = x[task, :3].flatten(0, -2)
        mean, variance = given.mean(0), given.var(0, correction=0)
        expected = (x[task] - mean) / (variance + 1e-3).sqrt()
        torch.testing.assert_close(found[task], expected, **CLOSE)


@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (12, 4), (5, 1)])
@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)])
def test_group_norm(shape, channels, groups):
    layer = Norm(channels, "group", "scale_shift")
    params = per_task(layer)

    def theirs(x, weight, bias):
        outputs = [
            F.group_norm(x[t].movedim(-1, 1), groups, weight[t], bias[t], 1e-3).movedim(1, -1)
            for t in range(TASKS)
        ]
        return torch.stack(outputs)

    inputs = [random(TASKS, *shape, channels), *params.values()]
    assert_same_with_derivatives(norm_call(layer), theirs, inputs)


@pytest.mark.parametrize(("norm", "rows"), [("batch", Rows(2)), ("support", Rows(1, 2))])
def test_norm_by_differences(norm, rows):
    layer = Norm(2, norm, "scale_shift")
    call = norm_call(layer, rows)
    inputs = random(2, 4, 2), random(2, 2), random(2, 2)
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


def test_running_averages():
    layer = Norm(2, "running", "none").double()
    x = random(TASKS, 4, 2)
    layer(x, Rows())
    assert layer.running_mean.tolist() == [0.0, 0.0]  # it records only if told to
    layer.recording = True
    batch = torch_batch_norm(x, None, None, 1e-3)
    torch.testing.assert_close(layer(x, Rows()), batch, **CLOSE)
    mean, variance = x.mean((0, 1)), x.var(1, correction=0).mean(0)
    torch.testing.assert_close(layer.running_mean, 0.1 * mean, **CLOSE)
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * variance, **CLOSE)
    layer.recording = False
    expected = (x - layer.running_mean) / (layer.running_var + 1e-3).sqrt()
    torch.testing.assert_close(layer.eval()(x, Rows()), expected, **CLOSE)


def test_no_norm_and_names():
    x = random(2, 3, 4)
    layer = Norm(4, "none", "scale_shift")
    assert layer(x, Rows()) is x
    assert list(layer.parameters()) == []
    with pytest.raises(BadValue, match=r"norm=bach: accepted is batch, .*did you mean 'batch'"):
        Norm(4, "bach", "none")
    with pytest.raises(BadValue, match="affine=scale"):
        Norm(4, "batch", "scale")
