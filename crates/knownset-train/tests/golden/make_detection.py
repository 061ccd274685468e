"""Makes detection.safetensors: the matching and the loss of GroundingDINO as transformers has them, and their gradients.

Three images, five boxes each, a text of six tokens with two phrases (tokens 1 and 2, token 4). The third image shows
nothing, also because transformers would number its labels wrongly (`_get_target_classes_one_hot` does not add up the label
maps of the images before).

Made with Python 3.11, torch 2.15.0, transformers 5.23.0:
    python make_detection.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.loss.loss_grounding_dino import GroundingDinoHungarianMatcher, GroundingDinoImageLoss

torch.manual_seed(7)
IMAGES, BOXES, TOKENS = 3, 5, 6
logits = torch.randn(IMAGES * BOXES, TOKENS, requires_grad=True)
boxes = (torch.rand(IMAGES * BOXES, 4) * 0.5 + 0.2).requires_grad_()
label_map = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]], dtype=torch.float32)
targets = [
    dict(class_labels=torch.tensor([0, 1, 0]), boxes=torch.rand(3, 4) * 0.5 + 0.2),
    dict(class_labels=torch.tensor([1]), boxes=torch.rand(1, 4) * 0.5 + 0.2),
    dict(class_labels=torch.tensor([], dtype=torch.int64), boxes=torch.zeros(0, 4)),
]
outputs = dict(
    logits=logits.view(IMAGES, BOXES, TOKENS),
    pred_boxes=boxes.view(IMAGES, BOXES, 4),
    label_maps=tuple(label_map for _ in targets),
    text_mask=torch.ones(IMAGES, BOXES, TOKENS, dtype=torch.bool),
)
matcher = GroundingDinoHungarianMatcher(class_cost=1.0, bbox_cost=5.0, giou_cost=2.0)
criterion = GroundingDinoImageLoss(matcher=matcher, focal_alpha=0.25, losses=["labels", "boxes"])
found = criterion(outputs, targets)
loss = 2.0 * found["loss_ce"] + 5.0 * found["loss_bbox"] + 2.0 * found["loss_giou"]
loss.backward()

# Boxes counted through all images, targets likewise; by image, then by target.
pairs, first = [], 0
for image, (queries, own) in enumerate(matcher(outputs, targets)):
    pairs += [(image * BOXES + q, first + t) for t, q in sorted(zip(own.tolist(), queries.tolist()))]
    first += len(targets[image]["boxes"])
tensors = {
    "case.logits": logits, "case.boxes": boxes, "case.loss": loss.reshape(1),
    "case.logits.gradient": logits.grad, "case.boxes.gradient": boxes.grad,
    "case.pairs": torch.tensor(pairs, dtype=torch.float32).flatten(),
    "targets.places": torch.cat([target["boxes"] for target in targets]),
    "targets.label": torch.cat([target["class_labels"] for target in targets]).float(),
    "targets.image": torch.tensor([i for i, target in enumerate(targets) for _ in target["boxes"]]).float(),
}
save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, Path(__file__).parent / "detection.safetensors")
print({name: value.item() for name, value in found.items()}, loss.item(), pairs)
