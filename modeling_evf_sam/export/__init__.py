"""A checkpoint as three graphs for other programs: ONNX, OpenVINO, or torch's own."""
