"""Export of trained generators: SavedModel, Keras file, TFLite and ONNX, with a model card."""

from hamgan.sampling.export.exporter import check_export, export

__all__ = ["check_export", "export"]
