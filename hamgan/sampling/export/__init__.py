"""Export of trained generators: SavedModel, Keras file, TFLite and ONNX, with a model card."""

from hamgan.sampling.export.exporter import check_export as check_export
from hamgan.sampling.export.exporter import export as export
