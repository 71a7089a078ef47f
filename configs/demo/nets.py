"""The demo's two networks, how they are trained, and how they become ONNX files. Needs PyTorch.

Detector: a small convolutional network over 320 x 320, one prediction for each cell of 8 x 8 pixels, no
anchors: how likely a digit is centred near the cell, and how far its four edges are from the cell's centre.
The score is trained towards the overlap (the root of the IoU) that the predicted box has with the true one,
so that non-maximum suppression keeps the best box (Li et al., Generalized Focal Loss, 2020); the edges are
trained with the generalised IoU (Rezatofighi et al., 2019). Which cells answer for a box is decided as in FCOS
(Tian et al., 2019): those near its centre.

Classifier: six convolutions over 32 x 32. Its first step removes each crop's own brightness and contrast, so
light and paper colour matter little.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812 (the name under which everybody knows it)
from torch import Tensor, nn

DETECTOR_PX = 320
STRIDE = 8
CELLS = DETECTOR_PX // STRIDE
CROP_PX = 32
STORED_CROP_PX = 64
STORED_MARGIN = 0.35  # stored crops reach this far beyond the digit's box, as room for jitter
MARGIN = 0.10  # what the chain adds around a box before it classifies
OPSET = 17


# ---------------------------------------------------------------- the networks


def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + two convolutions of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Detector(nn.Module):
    """(n, 3, 320, 320) RGB in 0..1 -> (n, 5, 1600): cx, cy, w, h in input pixels and the score's logit."""

    def __init__(self) -> None:
        super().__init__()
        # Down to 40 x 40 cells, and once more to 20 x 20, where a cell sees a digit whole and its neighbours.
        self.fine = nn.Sequential(conv(3, 12, 2), conv(12, 24, 2), conv(24, 24), conv(24, 40, 2), Residual(40))
        self.coarse = nn.Sequential(conv(40, 64, 2), Residual(64))
        self.join = nn.Sequential(conv(40 + 64, 48, size=1), conv(48, 48))
        self.head = nn.Conv2d(48, 5, 1)
        nn.init.constant_(self.head.bias[4:], -4.0)  # almost every cell is empty: start out that way
        nn.init.constant_(self.head.bias[:4], 0.6)
        middle = (torch.arange(CELLS) + 0.5) * STRIDE
        y, x = torch.meshgrid(middle, middle, indexing="ij")
        self.register_buffer("centres", torch.stack([x.flatten(), y.flatten()])[None])

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        wide = F.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
        raw = self.head(self.join(torch.cat([fine, wide], 1))).flatten(2)
        edges = raw[:, :4].clamp(max=4.0).exp() * STRIDE  # left, top, right, bottom of the cell's centre
        near, far = edges[:, :2], edges[:, 2:]
        return torch.cat([self.centres + (far - near) / 2, near + far, raw[:, 4:]], 1)


class WithScores(nn.Module):
    """The detector as it is shipped: logits made scores, the layout that YOLOv8 exports have."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        boxes, logits = self.detector(images).split([4, 1], 1)
        return torch.cat([boxes, logits.sigmoid()], 1)


class EvenLight(nn.Module):
    """Takes each crop's mean colour away and divides by its contrast, one figure for all three channels."""

    def forward(self, x: Tensor) -> Tensor:
        rest = x - x.mean((2, 3), keepdim=True)
        return rest / ((rest * rest).mean((1, 2, 3), keepdim=True) + 1e-4).sqrt()


class Classifier(nn.Module):
    """(n, 3, 32, 32) RGB -> (n, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            EvenLight(),
            conv(3, 16), conv(16, 32, 2), conv(32, 32), conv(32, 48, 2), conv(48, 64), conv(64, 64, 2),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 16, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


# ---------------------------------------------------------------- training


def train(
    net: nn.Module, steps: int, peak_rate: float, batch: Callable[[], tuple[Tensor, ...]],
    loss_of: Callable[..., Tensor], say: Callable[[str], None],
) -> nn.Module:  # fmt: skip
    """Runs AdamW for `steps` batches; returns the running average of the weights."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=peak_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps, pct_start=0.15)
    average, recent, started = copy.deepcopy(net).eval(), 0.0, time.monotonic()
    net.train()
    for step in range(steps):
        inputs, *targets = batch()
        loss = loss_of(net(inputs), *targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        follow(average, net, keep=min(0.995, (step + 1) / (step + 10)))
        recent = 0.98 * recent + 0.02 * loss.item() if step else loss.item()
        if step % 100 == 99 or step + 1 == steps:
            say(f"  step {step + 1}/{steps}, loss {recent:.4f}, {time.monotonic() - started:.0f} s")
    return average


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, keep: float) -> None:
    """Moves the averaged weights a little towards the present ones."""
    for mean, now in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)


def detection_loss(predicted: Tensor, boxes: list[Tensor]) -> Tensor:
    """Quality focal loss on all cells, generalised IoU on those that answer for a box.

    `boxes` holds for each image its true boxes, (k, 4) as x0, y0, x1, y1 in input pixels.
    """
    middle = (torch.arange(CELLS) + 0.5) * STRIDE
    y, x = (axis.flatten()[:, None] for axis in torch.meshgrid(middle, middle, indexing="ij"))
    quality = torch.zeros(len(boxes), CELLS * CELLS)
    box_loss, answering = predicted.new_zeros(()), 0
    for i, true in enumerate(boxes):
        if not len(true):
            continue
        centre, size = (true[:, :2] + true[:, 2:]) / 2, true[:, 2:] - true[:, :2]
        reach = (0.28 * size).clamp(min=STRIDE / 2 + 0.01)  # at least one cell for the smallest box
        dx, dy = (x - centre[:, 0]).abs(), (y - centre[:, 1]).abs()
        near = (dx <= reach[:, 0]) & (dy <= reach[:, 1])
        distance = torch.where(near, dx + dy, torch.inf)
        nearest, which = distance.min(1)
        cells = nearest.isfinite().nonzero()[:, 0]
        overlap, generalised = overlaps(predicted[i, :4, cells].T, true[which[cells]])
        quality[i, cells] = overlap.detach().clamp(min=0).sqrt()
        box_loss = box_loss + (1 - generalised).sum()
        answering += len(cells)
    logits = predicted[:, 4]
    weight = (logits.sigmoid().detach() - quality).abs() ** 2
    score_loss = (weight * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")).sum()
    return (2.0 * score_loss + box_loss) / max(answering, 1)


def overlaps(predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of cx, cy, w, h rows with x0, y0, x1, y1 rows."""
    low, high = predicted[:, :2] - predicted[:, 2:] / 2, predicted[:, :2] + predicted[:, 2:] / 2
    shared = (torch.minimum(high, true[:, 2:]) - torch.maximum(low, true[:, :2])).clamp(min=0).prod(1)
    union = predicted[:, 2:].prod(1) + (true[:, 2:] - true[:, :2]).prod(1) - shared
    hull = (torch.maximum(high, true[:, 2:]) - torch.minimum(low, true[:, :2])).prod(1)
    iou = shared / union
    return iou, iou - (hull - union) / hull


def detector_batch(
    rng: np.random.Generator, images: np.ndarray, boxes: list[np.ndarray], count: int
) -> tuple[Tensor, list[Tensor]]:
    """Scenes letterboxed to 320 x 320, half of them zoomed, moved and mirrored as well.

    `images` are uint8 BGR (n, 240, 320, 3); `boxes` x0, y0, x1, y1 in their pixels.
    """
    inputs = np.empty((count, DETECTOR_PX, DETECTOR_PX, 3), np.float32)
    targets = []
    for i, pick in enumerate(rng.integers(len(images), size=count)):
        h, w = images.shape[1:3]
        zoom, mirror = 1.0, 1.0
        x, y = (DETECTOR_PX - w) / 2, (DETECTOR_PX - h) / 2
        if rng.random() < 0.5:
            zoom, mirror = rng.uniform(0.75, 1.35), rng.choice([-1.0, 1.0])
            x, y = (rng.uniform(*sorted((0.0, DETECTOR_PX - zoom * length))) for length in (w, h))
            x = x if mirror > 0 else x + zoom * w
        # OpenCV counts from the middle of the first pixel, boxes from its edge.
        move = np.array([[mirror * zoom, 0, x - (1 - mirror * zoom) / 2], [0, zoom, y - (1 - zoom) / 2]])
        size = (DETECTOR_PX, DETECTOR_PX)
        seen = cv2.warpAffine(images[pick], move, size, flags=cv2.INTER_LINEAR, borderValue=(114, 114, 114))
        gain, offset = rng.uniform(0.8, 1.15), rng.uniform(-0.06, 0.06)
        inputs[i] = seen[..., ::-1].astype(np.float32) / 255 * gain + offset
        corners = boxes[pick].reshape(-1, 2) * (mirror * zoom, zoom) + (x, y)
        targets.append(torch.from_numpy(visible(corners.reshape(-1, 4).astype(np.float32))))
    return torch.from_numpy(inputs).permute(0, 3, 1, 2).contiguous(), targets


def visible(boxes: np.ndarray) -> np.ndarray:
    """Boxes in order again after mirroring, cut at the edge; those mostly outside are dropped."""
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    cut_low, cut_high = low.clip(0, DETECTOR_PX), high.clip(0, DETECTOR_PX)
    share = (cut_high - cut_low).prod(1) / (high - low).prod(1)
    return np.hstack([cut_low, cut_high])[share > 0.5]


def classifier_batch(rng: torch.Generator, crops: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Crops as a detector gives them, with boxes a little off; also turned, slanted, made noisy."""
    pick = torch.randint(len(crops), (count,), generator=rng)

    def chance(reach: float, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, generator=rng) * 2 - 1) * reach

    full = (1 + 2 * MARGIN) / (1 + 2 * STORED_MARGIN)
    scale = full * (1 + chance(0.10, 2))
    angle, shear = chance(0.12), chance(0.12)
    rows = torch.zeros(count, 2, 3)
    rows[:, 0, 0], rows[:, 0, 1] = scale[:, 0], -scale[:, 0] * (angle + shear)
    rows[:, 1, 0], rows[:, 1, 1] = scale[:, 1] * angle, scale[:, 1]
    rows[:, :, 2] = chance(0.09, 2)
    grid = F.affine_grid(rows, [count, 3, CROP_PX, CROP_PX], align_corners=False)
    images = crops[pick].permute(0, 3, 1, 2).float()
    seen = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    noise = torch.randn(seen.shape, generator=rng) * (3 + chance(3, 1, 1, 1))
    return (seen + noise).sub_(127.5).div_(127.5), labels[pick]


# ---------------------------------------------------------------- export


def save_onnx(net: nn.Module, path: Path, example: Tensor, dynamic_batch: bool, metadata: dict[str, str]) -> None:
    """Writes the network, with metadata under the keys that Ultralytics' exports have."""
    torch.onnx.export(
        net.eval(), (example,), str(path), dynamo=False, opset_version=OPSET,
        input_names=["images"], output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}} if dynamic_batch else None,
    )  # fmt: skip
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
