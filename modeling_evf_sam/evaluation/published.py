"""What the paper reports on the eight splits of RefCOCO, RefCOCO+ and RefCOCOg (arXiv 2406.20076)."""

# (dataset, split maker, split), in the order of the columns
PUBLISHED_SPLITS = (
    ("refcoco", "unc", "val"),
    ("refcoco", "unc", "testA"),
    ("refcoco", "unc", "testB"),
    ("refcoco+", "unc", "val"),
    ("refcoco+", "unc", "testA"),
    ("refcoco+", "unc", "testB"),
    ("refcocog", "umd", "val"),
    ("refcocog", "umd", "test"),
)
NAMES = {"refcoco": "Ref\nCOCO", "refcoco+": "Ref\nCOCO+", "refcocog": "Ref\nCOCOg"}

# method -> cIoU in percent on each of `PUBLISHED_SPLITS`, and their mean as printed: rows of Table 2 (Table 1 in
# version 5) that have all eight; with SAM-2 and with EfficientSAM, those of Table 6 (5)
CIOU = {
    "PolyFormer-L": (76.9, 78.5, 74.8, 72.2, 75.7, 66.7, 71.2, 71.2, 73.4),
    "UNINEXT-H": (82.2, 83.4, 81.3, 72.5, 76.4, 66.2, 74.4, 76.4, 76.6),
    "UniRef++-L": (79.1, 82.1, 77.5, 68.4, 74.0, 61.5, 71.4, 72.8, 73.4),
    "LISA 7B": (74.1, 76.5, 71.1, 62.4, 67.4, 56.5, 66.4, 68.5, 67.9),
    "PixelLM 13B": (73.0, 76.5, 68.2, 66.3, 71.7, 58.3, 69.3, 70.5, 69.2),
    "PixelLLM 3B": (76.9, 78.5, 74.4, 69.2, 72.1, 64.5, 70.7, 72.4, 72.3),
    "GLaMM 7B": (79.5, 83.2, 76.9, 72.6, 78.7, 64.6, 74.2, 74.9, 75.6),
    "u-LLaVA 7B": (80.4, 82.7, 77.8, 72.2, 76.6, 66.8, 74.8, 75.6, 75.9),
    "PSALM 1.3B": (83.6, 84.7, 81.6, 72.9, 75.5, 70.1, 73.8, 74.4, 77.1),
    "EVF-SAM EfficientSAM-S": (82.5, 83.5, 80.4, 75.4, 77.9, 70.2, 76.1, 77.1, 77.9),
    "EVF-SAM SAM-2-L": (82.7, 84.1, 80.0, 76.3, 80.1, 71.8, 77.0, 78.4, 78.8),
    "EVF-SAM": (82.1, 83.7, 80.0, 75.2, 78.3, 70.1, 76.8, 77.4, 78.0),
    "EVF-SAM multitask": (82.4, 84.2, 80.2, 76.5, 80.0, 71.9, 78.2, 78.3, 79.0),
}
