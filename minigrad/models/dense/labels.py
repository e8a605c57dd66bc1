"""The names of the classes of PASCAL VOC, COCO and drawn shapes, the background first: plain data.

VOC: the 20 classes of the PASCAL VOC challenge 2012 (its development kit, ``VOCinit.m``).  In
its masks, 255 marks pixels that belong to no class and count nowhere.

COCO: the 80 classes of COCO 2017 by the numbers that its annotations have, 1 to 90.  Ten
numbers were never given out; they stand here as "N/A", as in torchvision's list.

SHAPES: what our small network for segmentation was trained on.
"""

__all__ = ["COCO", "SHAPES", "VOC", "VOC_IGNORED"]

VOC_IGNORED = 255

SHAPES = ("background", "disc", "square", "triangle")

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
    "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
    "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
COCO = (
    "background", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck",
    "boat", "traffic light", "fire hydrant", "N/A", "stop sign", "parking meter", "bench",
    "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe",
    "N/A", "backpack", "umbrella", "N/A", "N/A", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard",
    "surfboard", "tennis racket", "bottle", "N/A", "wine glass", "cup", "fork", "knife",
    "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog",
    "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "N/A", "dining table",
    "N/A", "N/A", "toilet", "N/A", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "N/A", "book", "clock", "vase",
    "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
