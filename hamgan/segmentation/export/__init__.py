"""Export of segmentation networks: SavedModel, Keras file, TFLite and ONNX."""

from hamgan.segmentation.export.exporter import check_export, export_network

__all__ = ["check_export", "export_network"]
